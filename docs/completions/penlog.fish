complete -c penlog -l max -d 'Cut longer lines here, keeping the newline. Default and maximum 65507 (65487 over IPv6); a classic penlogd takes 1023.' -r
complete -c penlog -l legacy -d 'Do as the classic program 0.34.1 did: lines over 1023 bytes go out in pieces.'
complete -c penlog -s h -l help -d 'Print this help and exit.'
complete -c penlog -s V -l version -d 'Print the version and exit.'
# This file belongs to Evenkeel and is replaced by `evenkeel install`.
