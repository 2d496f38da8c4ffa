complete -c penlogd -s l -l log -d 'Append to this file. Default: standard output. HUP closes and reopens it.' -r
complete -c penlogd -s n -l remember -d 'The number of announcements to remember. Default 1000.' -r
complete -c penlogd -s p -l pid-file -d 'Write the process id to this file; it is removed at the end.' -r
complete -c penlogd -s u -l user -d 'Change to this user, with its groups, after the port is open.' -r
complete -c penlogd -s j -l chroot -d 'Change the root directory to this one, which contains log and pid file.' -r
complete -c penlogd -l allow -d 'Accept datagrams only from this network or address. May be given several times. Default: from everywhere.' -r
complete -c penlogd -l wait -d 'Hold a line for up to this long until its announcement arrives. Default 0.' -r
complete -c penlogd -l max-age -d 'Forget announcements that are older. Default: never.' -r
complete -c penlogd -l stats -d 'Report this often, on standard error (without -f in syslog), what was received, matched, dropped, and lost by the kernel.' -r
complete -c penlogd -s f -l foreground -d 'Stay in the foreground.'
complete -c penlogd -s b -l line-buffered -d 'Write each line at once. Otherwise lines may wait for up to a second.'
complete -c penlogd -s d -l debug -d 'Report what is received and dropped: on standard error with -f, otherwise to syslog. Repeat for more.'
complete -c penlogd -l json -d 'Write a JSON object per line.'
complete -c penlogd -l legacy -d 'Behave as the classic program 0.34.1, with its bugs: only 99 bytes of a request are compared, prefixes match, N-1 announcements are remembered, nothing is written before 4 KiB, and an announcement for a server without an IPv4 address ends the program. Never use it on a port that strangers can reach.'
complete -c penlogd -s h -l help -d 'Print this help and exit.'
complete -c penlogd -s V -l version -d 'Print the version and exit.'
# This file belongs to Evenkeel and is replaced by `evenkeel install`.
