complete -c splitwr -s n -l parallel -d 'Look-ups in flight. Default 64; 20 when called as splitwr.' -r
complete -c splitwr -s t -l timeout -d 'How long one address may take, with one repeat in it. Default 5.' -r
complete -c splitwr -s c -l cache -d 'Remember names in this file between runs: at most 7 days, the lack of a name 1 day, less if the DNS says so.' -r
complete -c splitwr -l server -d 'Ask this name server; may be given several times. Default: those in /etc/resolv.conf.' -r
complete -c splitwr -l nameserver -d 'The same as --server.' -r
complete -c splitwr -l rate -d 'At most N look-ups a second, with a small burst. Default 500; 0 for no limit, which is for name servers of your own.' -r
complete -c splitwr -l field -d 'Which word of the line is the address. Default 1; 2 after a virtual host.' -r
complete -c splitwr -l skip -d 'Leave addresses of this network alone. May be given several times.' -r
complete -c splitwr -s o -l output -d 'Write to this file; its ending .gz or .zst compresses.' -r
complete -c splitwr -l compress -d 'Compress the result: gzip or zstd.' -r
complete -c splitwr -l verify -d 'Use a name only if it leads back to the address.'
complete -c splitwr -l private -d 'Look up private, loopback, link-local and documentation addresses too. Default: only if a name server is local.'
complete -c splitwr -l no-hosts -d 'Do not look into /etc/hosts.'
complete -c splitwr -l stats -d 'Say on standard error how many lines and addresses there were, and what became of them.'
complete -c splitwr -s h -l help -d 'Print this help and exit.'
complete -c splitwr -s V -l version -d 'Print the version and exit.'
# This file belongs to Evenkeel and is replaced by `evenkeel install`.
