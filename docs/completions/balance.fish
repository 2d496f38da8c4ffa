complete -c balance -s b -d 'listen on this address only' -r
complete -c balance -s B -d 'connect to channels from this local address' -r
complete -c balance -s c -d 'send one command to a running instance' -r
complete -c balance -s t -d 'give up connecting to a channel after sec seconds' -r
complete -c balance -s T -d 'end connections idle for sec seconds' -r
complete -c balance -s 6 -d 'listen on an IPv6 socket, for IPv4 clients too'
complete -c balance -s a -d 'disable a channel that cannot be reached'
complete -c balance -s d -d 'tell on standard error what is going on'
complete -c balance -s f -d 'stay in the foreground'
complete -c balance -s i -d 'control a running instance by dialogue'
complete -c balance -s H -d 'let clients of an unusable hashed channel move on'
complete -c balance -s M -d 'accepted; changes nothing'
complete -c balance -s p -d 'dump all data to standard output'
# This file belongs to Evenkeel and is replaced by `evenkeel install`.
