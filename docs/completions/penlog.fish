complete -c penlog -l max -d 'Cut lines that are longer, keeping the newline. Default and maximum 65507 (65487 over IPv6); a classic penlogd takes 1023.' -r
complete -c penlog -l legacy -d 'Behave as the classic program 0.34.1: send lines of more than 1023 bytes in pieces.'
complete -c penlog -s h -l help -d 'Print this help and exit.'
complete -c penlog -s V -l version -d 'Print the version and exit.'
# This file belongs to Evenkeel and is replaced by `evenkeel install`.
