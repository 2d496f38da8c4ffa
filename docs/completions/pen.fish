complete -c pen -s A -d 'directory of CA certificates' -r
complete -c pen -s B -d 'where to send denied clients' -r
complete -c pen -s C -d 'listen for penctl(1) here, or on /path' -r
complete -c pen -s E -d 'TLS certificate' -r
complete -c pen -s F -d 'commands to start with, read again on HUP' -r
complete -c pen -s G -d 'file of CA certificates' -r
complete -c pen -s K -d 'key of the TLS certificate' -r
complete -c pen -s L -d 'oldest TLS protocol: ssl23, ssl2, ssl3 or tls1' -r
complete -c pen -s O -d 'carry out a command now' -r
complete -c pen -s S -d 'accepted; changes nothing' -r
complete -c pen -s T -d 'how long a client is remembered, 0 for ever' -r
complete -c pen -s b -d 'leave a server out this long after a failure' -r
complete -c pen -s c -d 'how many clients are remembered' -r
complete -c pen -s e -d 'emergency server' -r
complete -c pen -s i -d 'Windows only' -r
complete -c pen -s j -d 'root directory to take (chroot)' -r
complete -c pen -s l -d 'log what clients send, to a file or host:port' -r
complete -c pen -s m -d 'accepted; changes nothing' -r
complete -c pen -s o -d 'as -O' -r
complete -c pen -s p -d 'write the process id to this file' -r
complete -c pen -s q -d 'accepted; changes nothing' -r
complete -c pen -s t -d 'give up connecting to a server after this long' -r
complete -c pen -s u -d 'run as this user' -r
complete -c pen -s w -d 'HTML status page' -r
complete -c pen -s x -d 'connections at one time' -r
complete -c pen -s D -d 'accepted; changes nothing'
complete -c pen -s H -d 'tell servers the client\'s address in HTTP headers'
complete -c pen -s N -d 'as -h -r'
complete -c pen -s P -d 'accepted; changes nothing'
complete -c pen -s Q -d 'accepted; changes nothing'
complete -c pen -s R -d 'require client certificates'
complete -c pen -s U -d 'balance UDP'
complete -c pen -s W -d 'choose servers by weight'
complete -c pen -s X -d 'allow the command exit'
complete -c pen -s Z -d 'TLS compatibility mode'
complete -c pen -s a -d 'dump traffic as text instead of hexadecimal'
complete -c pen -s d -d 'tell what is going on; repeat for more'
complete -c pen -s f -d 'stay in the foreground'
complete -c pen -s h -d 'choose servers by the client\'s address'
complete -c pen -s n -d 'accepted; changes nothing'
complete -c pen -s r -d 'do not let clients return to their server'
complete -c pen -s s -d 'no other server when the chosen one fails'
# This file belongs to Evenkeel and is replaced by `evenkeel install`.
