complete -c splitwr -s n -l parallel -d 'Lookups in flight. Default 64; 20 if called as splitwr.' -r
complete -c splitwr -s t -l timeout -d 'The time allowed for one address, including one retry. Default 5.' -r
complete -c splitwr -s c -l cache -d 'Remember names in this file between runs: for at most 7 days, and the lack of a name for 1 day, or less if the DNS says so.' -r
complete -c splitwr -l server -d 'Ask this name server; may be given several times. Default: those in /etc/resolv.conf.' -r
complete -c splitwr -l nameserver -d 'Like --server.' -r
complete -c splitwr -l rate -d 'At most N lookups a second, with a small burst. Default 500; 0 means no limit, which is for name servers of your own.' -r
complete -c splitwr -l field -d 'The field of the line that has the address. Default 1; use 2 after a virtual host.' -r
complete -c splitwr -l skip -d 'Leave addresses of this network alone. May be given several times.' -r
complete -c splitwr -s o -l output -d 'Write to this file; .gz or .zst at the end of its name compresses it.' -r
complete -c splitwr -l compress -d 'Compress the result: gzip or zstd.' -r
complete -c splitwr -l verify -d 'Use a name only if it resolves to the address.'
complete -c splitwr -l private -d 'Look up private, loopback, link-local and documentation addresses too. Default: only if a name server is local.'
complete -c splitwr -l no-hosts -d 'Ignore /etc/hosts.'
complete -c splitwr -l stats -d 'Report on standard error how many lines and addresses there were, and what became of them.'
complete -c splitwr -s h -l help -d 'Print this help and exit.'
complete -c splitwr -s V -l version -d 'Print the version and exit.'
# This file belongs to Evenkeel and is replaced by `evenkeel install`.
