# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_evenkeel_global_optspecs
    string join \n policy= load-bound= subset= quarantine= no-last-resort essential engine= failover= hash-failover= auto-disable probe= probe-interval= probe-timeout= probe-port= agent= agent-interval= on-down= on-up= eject= fail-open-below= refuse-below= warm-up= max-age= fall= rise= affinity= affinity-time= affinity-count-only allow= deny= reject= max-sessions= max-connecting= max-rate= client-limits= accept-proxy= share-port tls-cert= tls-key= tls-alpn= tls-timeout= tls-min= tls-ciphers= tls-ocsp= tls-ticket-keys= tls-clients= tls-clients-ca= tls-clients-crl= backend-tls= backend-tls-ca= backend-tls-name= backend-tls-cert= backend-tls-key= backend-tls-alpn= connect-timeout= idle-timeout= first-byte-timeout= half-close-timeout= backend-half-close-timeout= linger= keep-alive= user-timeout= flow-timeout= requests= responses= retry-after= hash-on= shutdown-timeout= source= transparent forwarded-headers send-proxy= splice= cut= workers= spin= daemon pid-file= user= root= state= admin= log-format= log-sessions= log-sample= log-start log-every= log-slow-connect= log-file= metrics= metrics-detail= ready-interface= pre-stop= print-config= h/help V/version
end

function __fish_evenkeel_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_evenkeel_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_evenkeel_using_subcommand
    set -l cmd (__fish_evenkeel_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c evenkeel -n "__fish_evenkeel_needs_command" -l policy -d 'How a tier chooses: round-robin, hash, least-sessions, random, rotation, address-hash, address-port-hash, weighted, priority, weighted-turn, least-weighted, two, fastest, maglev or rendezvous' -r -f -a "round-robin\t''
hash\t''
least-sessions\t''
random\t''
rotation\t''
address-hash\t''
address-port-hash\t''
weighted\t''
priority\t''
weighted-turn\t''
least-weighted\t''
two\t''
fastest\t''
maglev\t''
rendezvous\t''"
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l load-bound -d 'With maglev and rendezvous: how much more than its share of the sessions a backend may have, such as 1.25 [default: any number]' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l subset -d 'Use a part of what names stand for: size=20,node=3,nodes=10' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l quarantine -d 'How long to skip a failed backend; 0 disables this' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l engine -d 'Who forwards: user, this process, kernel or direct' -r -f -a "user\t''
kernel\t''
direct\t''"
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l failover -d 'What to try after a backend has failed: whole-tier, later-tiers or nothing' -r -f -a "whole-tier\t''
later-tiers\t''
nothing\t''"
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l hash-failover -d 'Like --failover, for tiers that hash' -r -f -a "whole-tier\t''
later-tiers\t''
nothing\t''"
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l probe -d 'Probe every backend: tcp, http:/PATH, pgsql, mysql user=NAME, redis, smtp, imap, pop3, ftp, ssh, ldap, mqtt, memcached, dns:NAME, ntp, command:/PROGRAM or send=BYTES expect=BYTES [default: none]' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l probe-interval -d 'Time from one probe of a backend to the next' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l probe-timeout -d 'How long a probe may take, connect included' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l probe-port -d 'Port to probe [default: the backend\'s]' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l agent -d 'Ask agents, as HAProxy does, at PORT or ADDR:PORT [default: none]' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l agent-interval -d 'Time from one question to the next' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l on-down -d 'What becomes of open sessions when probes find their backend down: keep or end-sessions' -r -f -a "keep\t''
end-sessions\t''"
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l on-up -d 'What becomes of sessions on later tiers when probes find a backend up again: keep or return' -r -f -a "keep\t''
return\t''"
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l eject -d 'Skip backends whose sessions fail, at most this share of a tier' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l fail-open-below -d 'Below this share of available backends, ignore health' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l refuse-below -d 'Below this share of available backends, refuse sessions' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l warm-up -d 'Give backends that come up their share gradually [default: at once]' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l max-age -d 'End sessions at this age, or up to 10% earlier' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l fall -d 'Failures until a backend has failed [default: 1 connect, 3 probes]' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l rise -d 'Successes until it has recovered [default: 1 connect, 2 probes]' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l affinity -d 'Send returning clients back; remember this many [default: none]' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l affinity-time -d 'Forget clients that begin no session for this long' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l allow -d 'Serve these clients: ADDR, ADDR/LEN or country:SE. Of --allow and --deny, the first match decides; without one, the opposite of the last rule applies' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l deny -d 'Do not serve these clients; see --allow' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l reject -d 'Where to send denied clients [default: they are refused]' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l max-sessions -d 'Most open sessions; others wait [default: as file descriptors allow]' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l max-connecting -d 'Maximum number of connects in progress; further clients wait' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l max-rate -d 'Accept clients at most at this rate, such as 100/s; others wait' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l client-limits -d 'Limits of each client network: sessions=N, rate=N/TIME, and with commas also prefix=V4/V6, table=N, full=refuse [default: none]' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l accept-proxy -d 'Serve only clients of these proxies, which must announce them by the PROXY protocol: ADDR, ADDR/LEN or unix, several with commas' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l tls-cert -d 'Terminate TLS with the certificate chain in this PEM file; once for each certificate, the first is the default' -r -F
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l tls-key -d 'Where the key of a certificate is [default: in its file]' -r -F
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l tls-alpn -d 'Protocols to offer by ALPN, in order, with commas [default: none]' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l tls-timeout -d 'How long a TLS handshake may take' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l tls-min -d 'Oldest version for clients: 1.2 or 1.3' -r -f -a "1.2\t''
1.3\t''"
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l tls-ciphers -d 'Ciphers of TLS 1.2, a list as for OpenSSL [default: all]' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l tls-ocsp -d 'OCSP answers for the certificates of the same places, DER' -r -F
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l tls-ticket-keys -d 'Keys of tickets that several hosts share [default: own ones]' -r -F
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l tls-clients -d 'Certificates of clients: off, request or require' -r -f -a "off\t''
request\t''
require\t''"
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l tls-clients-ca -d 'Authorities of clients, files or folders [default: system\'s]' -r -F
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l tls-clients-crl -d 'Lists of revoked certificates of clients, PEM' -r -F
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l backend-tls -d 'TLS with backends: verify, insecure or off' -r -f -a "off\t''
verify\t''
insecure\t''"
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l backend-tls-ca -d 'Authorities of backends, files or folders [default: system\'s]' -r -F
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l backend-tls-name -d 'Name in backends\' certificates [default: each one\'s host]' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l backend-tls-cert -d 'Certificate to show to backends' -r -F
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l backend-tls-key -d 'Where its key is [default: in the certificate\'s file]' -r -F
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l backend-tls-alpn -d 'Protocols to offer backends by ALPN, with commas [default: none]' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l connect-timeout -d 'Limit of each attempt to connect to a backend' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l idle-timeout -d 'End a session after this long without data' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l first-byte-timeout -d 'End a session whose client sends nothing [default: never]' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l half-close-timeout -d 'End a session that one side has finished after this long without data; now ends it at once' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l backend-half-close-timeout -d 'Likewise, if the backend has finished [default: the same]' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l linger -d 'Time to deliver the last bytes before a reset' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l keep-alive -d 'Probe a silent peer after this long, up to three times, TIME/3 but at most 75s apart; 0 or never disables this [default: as the system does]' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l user-timeout -d 'Give up peers that acknowledge nothing' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l flow-timeout -d 'End a flow after this long without a datagram' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l requests -d 'Begin another flow after N datagrams of a client; 1 spreads them' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l responses -d 'End a flow after N answers to each datagram from its client: 1 for DNS' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l retry-after -d 'Try another backend after this long without an answer [default: never]' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l hash-on -d 'Know QUIC clients that move by their ids: quic-cid or quic-cid:N' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l shutdown-timeout -d 'How long sessions may go on after TERM or INT; 0 cuts them, never waits' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l source -d 'Local address for connections to backends' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l send-proxy -d 'Announce clients to backends by the PROXY protocol: v1, v2, v2-unique-id, v2-crc32c or v2-unique-id-crc32c' -r -f -a "v1\t''
v2\t''
v2-unique-id\t''
v2-crc32c\t''
v2-unique-id-crc32c\t''"
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l splice -d 'Bulk data through kernel pipes: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l cut -d 'What peers see when a session is cut: reset or close' -r -f -a "reset\t''
close\t''"
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l workers -d 'Number of threads that relay data [default: one per available core]' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l spin -d 'Poll this long before sleeping: less latency, more CPU' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l pid-file -d 'Write the process id to this file' -r -F
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l user -d 'Change to this user once listening' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l root -d 'Change the root directory (chroot) before changing to the user' -r -F
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l state -d 'Remember commands, failures and addresses over restarts in this directory, or none [default: $STATE_DIRECTORY, if it is set]' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l admin -d 'Path of the admin socket [default: a file in the runtime directory]' -r -F
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l log-format -d 'Format of the log: text or json' -r -f -a "text\t''
json\t''"
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l log-sessions -d 'Which ends of sessions to log: all, problems or none' -r -f -a "all\t''
problems\t''
none\t''"
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l log-sample -d 'Of sessions without problems, log one in N' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l log-every -d 'Log open sessions again at each multiple of this age' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l log-slow-connect -d 'Take it for a problem of a session if connecting took longer' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l log-file -d 'Log to this file, which the signal USR1 has opened again' -r -F
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l metrics -d 'Serve Prometheus metrics at this address, or port of 127.0.0.1' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l metrics-detail -d 'Detail of metrics: backend, pool (sums) or auto' -r -f -a "auto\t''
backend\t''
pool\t''"
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l ready-interface -d 'Make an interface that has a carrier while ready, for keepalived' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l pre-stop -d 'How long to accept clients after a shutdown was announced [default: 1s with --ready-interface, else 0s]' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l print-config -d 'Print this configuration in full, as a line or as toml, and exit' -r -f -a "line\t''
toml\t''"
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l no-last-resort -d 'Refuse clients when all backends have failed'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l essential -d 'Not ready unless a backend of this pool is available'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l auto-disable -d 'Disable a failed backend until `evenkeel ctl enable` enables it'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l affinity-count-only -d 'Only count the sessions of remembered clients; choose as for new ones'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l share-port -d 'Share the port with other processes; the kernel distributes clients'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l transparent -d 'Connect to backends from the client\'s address (needs CAP_NET_RAW)'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l forwarded-headers -d 'Add X-Forwarded-For and X-Forwarded-Proto to HTTP requests'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l daemon -d 'Run in the background once listening'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l log-start -d 'Log when sessions have been connected to a backend, too'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -s V -l version -d 'Print version'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -a "demo" -d 'Start three small web servers with a balancer in front of them, for experiments'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -a "ctl" -d 'Show and change a running instance'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -a "status" -d 'Print a running instance\'s status as a web page, also as a CGI program'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -a "top" -d 'Show a running instance on the terminal, live'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -a "ready" -d 'Ask a running instance whether clients should be sent to it; the exit status says so'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -a "run" -d 'Start a balancer from a configuration file'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -a "reload" -d 'Have a running instance read its configuration file again'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -a "upgrade" -d 'Replace a running instance by this program; its sessions go on'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -a "check" -d 'Say what is wrong with a configuration file, all of it at once'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -a "diff" -d 'Compare a configuration file with the one that was loaded, and that with what runs'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -a "fmt" -d 'Rewrite a configuration file: keys in order, one spelling, comments kept'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -a "schema" -d 'Print the JSON Schema of configuration files, for editors'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -a "help" -d 'Print help, for a verb if one is named'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -a "version" -d 'Print the version'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -a "engine-clear" -d 'Remove the rules that instances which are gone have left in the kernel'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -a "install" -d 'Install the program, links, man pages, completions, systemd unit; spares other files'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -a "links" -d 'Create links in DIR, so that the classics can be called by their names'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -a "balance" -d 'A TCP proxy with load balancing and failover'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -a "pen" -d 'A load balancer for TCP that lets clients return to their server'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -a "penctl" -d 'Control a running pen'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -a "mergelogs" -d 'Merge the access logs of all servers behind a balancer and restore the clients'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -a "penlog" -d 'Send a web server\'s log to penlogd, line by line'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -a "penlogd" -d 'Write one access log for all servers behind a balancer, with the true clients'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -a "webresolve" -d 'Replace addresses by host names in access logs'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -a "splitwr" -d 'Replace addresses by host names in access logs, with 20 lookups at a time'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -a "dwatch" -d 'Watch programs and start those that have died'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand demo" -l port -d 'Port of the balancer; the web servers use the next free ports' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand demo" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and not __fish_seen_subcommand_from status sessions why events tap enable disable drain limit quarantine reset add remove assign policy rebalance kill config reload confirm drain-all shutdown" -l admin -d 'Use the instance with this admin socket' -r -F
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and not __fish_seen_subcommand_from status sessions why events tap enable disable drain limit quarantine reset add remove assign policy rebalance kill config reload confirm drain-all shutdown" -l listen -d 'Use the instance with this listener: a port, or an address as shown by `ctl status`, such as *:80, [::1]:80 or unix:/path [default: the only one running]' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and not __fish_seen_subcommand_from status sessions why events tap enable disable drain limit quarantine reset add remove assign policy rebalance kill config reload confirm drain-all shutdown" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and not __fish_seen_subcommand_from status sessions why events tap enable disable drain limit quarantine reset add remove assign policy rebalance kill config reload confirm drain-all shutdown" -f -a "status" -d 'Show listeners, tiers, backends and counters'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and not __fish_seen_subcommand_from status sessions why events tap enable disable drain limit quarantine reset add remove assign policy rebalance kill config reload confirm drain-all shutdown" -f -a "sessions" -d 'List open sessions, the oldest first'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and not __fish_seen_subcommand_from status sessions why events tap enable disable drain limit quarantine reset add remove assign policy rebalance kill config reload confirm drain-all shutdown" -f -a "why" -d 'Say where a client would be sent, and why not elsewhere'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and not __fish_seen_subcommand_from status sessions why events tap enable disable drain limit quarantine reset add remove assign policy rebalance kill config reload confirm drain-all shutdown" -f -a "events" -d 'Follow what happens, as in the log, until interrupted'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and not __fish_seen_subcommand_from status sessions why events tap enable disable drain limit quarantine reset add remove assign policy rebalance kill config reload confirm drain-all shutdown" -f -a "tap" -d 'Watch what passes in sessions, until interrupted'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and not __fish_seen_subcommand_from status sessions why events tap enable disable drain limit quarantine reset add remove assign policy rebalance kill config reload confirm drain-all shutdown" -f -a "enable" -d 'Put a backend into service'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and not __fish_seen_subcommand_from status sessions why events tap enable disable drain limit quarantine reset add remove assign policy rebalance kill config reload confirm drain-all shutdown" -f -a "disable" -d 'Take a backend out of service; its open sessions continue'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and not __fish_seen_subcommand_from status sessions why events tap enable disable drain limit quarantine reset add remove assign policy rebalance kill config reload confirm drain-all shutdown" -f -a "drain" -d 'Like disable, and log when the backend\'s last session has ended'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and not __fish_seen_subcommand_from status sessions why events tap enable disable drain limit quarantine reset add remove assign policy rebalance kill config reload confirm drain-all shutdown" -f -a "limit" -d 'Limit a backend\'s open sessions; 0 removes the limit'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and not __fish_seen_subcommand_from status sessions why events tap enable disable drain limit quarantine reset add remove assign policy rebalance kill config reload confirm drain-all shutdown" -f -a "quarantine" -d 'Skip a backend for some time from now, as after a failed connect; 0 ends this'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and not __fish_seen_subcommand_from status sessions why events tap enable disable drain limit quarantine reset add remove assign policy rebalance kill config reload confirm drain-all shutdown" -f -a "reset" -d 'Set a backend\'s counters to zero'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and not __fish_seen_subcommand_from status sessions why events tap enable disable drain limit quarantine reset add remove assign policy rebalance kill config reload confirm drain-all shutdown" -f -a "add" -d 'Add a disabled backend to a tier'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and not __fish_seen_subcommand_from status sessions why events tap enable disable drain limit quarantine reset add remove assign policy rebalance kill config reload confirm drain-all shutdown" -f -a "remove" -d 'Remove a backend; its open sessions go on'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and not __fish_seen_subcommand_from status sessions why events tap enable disable drain limit quarantine reset add remove assign policy rebalance kill config reload confirm drain-all shutdown" -f -a "assign" -d 'Give a disabled backend another address'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and not __fish_seen_subcommand_from status sessions why events tap enable disable drain limit quarantine reset add remove assign policy rebalance kill config reload confirm drain-all shutdown" -f -a "policy" -d 'Change a tier\'s policy to one that --policy takes'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and not __fish_seen_subcommand_from status sessions why events tap enable disable drain limit quarantine reset add remove assign policy rebalance kill config reload confirm drain-all shutdown" -f -a "rebalance" -d 'End sessions of backends that have more than their share, one after the other'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and not __fish_seen_subcommand_from status sessions why events tap enable disable drain limit quarantine reset add remove assign policy rebalance kill config reload confirm drain-all shutdown" -f -a "kill" -d 'End one session'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and not __fish_seen_subcommand_from status sessions why events tap enable disable drain limit quarantine reset add remove assign policy rebalance kill config reload confirm drain-all shutdown" -f -a "config" -d 'Print what runs as a configuration file'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and not __fish_seen_subcommand_from status sessions why events tap enable disable drain limit quarantine reset add remove assign policy rebalance kill config reload confirm drain-all shutdown" -f -a "reload" -d 'Read the configuration file again'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and not __fish_seen_subcommand_from status sessions why events tap enable disable drain limit quarantine reset add remove assign policy rebalance kill config reload confirm drain-all shutdown" -f -a "confirm" -d 'Make a reload with --confirm final'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and not __fish_seen_subcommand_from status sessions why events tap enable disable drain limit quarantine reset add remove assign policy rebalance kill config reload confirm drain-all shutdown" -f -a "drain-all" -d 'Send clients elsewhere, end sessions while they are silent, and exit'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and not __fish_seen_subcommand_from status sessions why events tap enable disable drain limit quarantine reset add remove assign policy rebalance kill config reload confirm drain-all shutdown" -f -a "shutdown" -d 'Stop listening, let sessions finish, and exit'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from status" -l admin -d 'Use the instance with this admin socket' -r -F
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from status" -l listen -d 'Use the instance with this listener: a port, or an address as shown by `ctl status`, such as *:80, [::1]:80 or unix:/path [default: the only one running]' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from status" -l json -d 'Print everything as JSON'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from status" -l wide -d 'Print every column in full, wider than 80 characters'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from status" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from sessions" -l pool -d 'Only sessions with backends of this pool' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from sessions" -l backend -d 'Only sessions with this backend: TIER.INDEX, name or address' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from sessions" -l client -d 'Only sessions of clients with this address, in this network (10.0.0.0/8), or of unix sockets' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from sessions" -l sort -d 'Which come first: the oldest (age), those with the most bytes per second since they began (rate), the most bytes, the longest round-trip time to the client (rtt), or those that have been silent for the longest time (idle)' -r -f -a "age\t''
rate\t''
bytes\t''
rtt\t''
idle\t''"
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from sessions" -l limit -d 'The maximum number of sessions; 0 for all' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from sessions" -l admin -d 'Use the instance with this admin socket' -r -F
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from sessions" -l listen -d 'Use the instance with this listener: a port, or an address as shown by `ctl status`, such as *:80, [::1]:80 or unix:/path [default: the only one running]' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from sessions" -l json -d 'Print everything as JSON'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from sessions" -l wide -d 'Print every column in full, wider than 80 characters'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from sessions" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from why" -l listener -d 'The listener: its name, port or address [default: the only one]' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from why" -l sni -d 'The name of the server that a TLS client asks for' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from why" -l alpn -d 'The protocols that a TLS client offers, with commas between them' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from why" -l admin -d 'Use the instance with this admin socket' -r -F
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from why" -l listen -d 'Use the instance with this listener: a port, or an address as shown by `ctl status`, such as *:80, [::1]:80 or unix:/path [default: the only one running]' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from why" -l json -d 'Print everything as JSON'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from why" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from events" -l only -d 'Only these: ends of sessions (ends), or all others (changes)' -r -f -a "ends\t''
changes\t''"
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from events" -l admin -d 'Use the instance with this admin socket' -r -F
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from events" -l listen -d 'Use the instance with this listener: a port, or an address as shown by `ctl status`, such as *:80, [::1]:80 or unix:/path [default: the only one running]' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from events" -l json -d 'Print each as a JSON object'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from events" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from tap" -l listener -d 'Only new sessions of this listener: its name, port or address' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from tap" -l client -d 'Only new sessions of clients with this address, in this network, or of unix sockets' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from tap" -l sessions -d 'End after this many sessions' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from tap" -l bytes -d 'Show this many bytes of each session, such as 64k or 1M' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from tap" -l for -d 'End after this time' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from tap" -l admin -d 'Use the instance with this admin socket' -r -F
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from tap" -l listen -d 'Use the instance with this listener: a port, or an address as shown by `ctl status`, such as *:80, [::1]:80 or unix:/path [default: the only one running]' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from tap" -l json -d 'Print JSON objects, with the bytes in hexadecimal'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from tap" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from enable" -l admin -d 'Use the instance with this admin socket' -r -F
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from enable" -l listen -d 'Use the instance with this listener: a port, or an address as shown by `ctl status`, such as *:80, [::1]:80 or unix:/path [default: the only one running]' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from enable" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from disable" -l admin -d 'Use the instance with this admin socket' -r -F
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from disable" -l listen -d 'Use the instance with this listener: a port, or an address as shown by `ctl status`, such as *:80, [::1]:80 or unix:/path [default: the only one running]' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from disable" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from drain" -l wait -d 'Wait until the backend has no sessions, for at most TIME if it is given; the exit status is 1 if sessions are still open then' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from drain" -l admin -d 'Use the instance with this admin socket' -r -F
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from drain" -l listen -d 'Use the instance with this listener: a port, or an address as shown by `ctl status`, such as *:80, [::1]:80 or unix:/path [default: the only one running]' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from drain" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from limit" -l admin -d 'Use the instance with this admin socket' -r -F
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from limit" -l listen -d 'Use the instance with this listener: a port, or an address as shown by `ctl status`, such as *:80, [::1]:80 or unix:/path [default: the only one running]' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from limit" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from quarantine" -l admin -d 'Use the instance with this admin socket' -r -F
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from quarantine" -l listen -d 'Use the instance with this listener: a port, or an address as shown by `ctl status`, such as *:80, [::1]:80 or unix:/path [default: the only one running]' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from quarantine" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from reset" -l admin -d 'Use the instance with this admin socket' -r -F
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from reset" -l listen -d 'Use the instance with this listener: a port, or an address as shown by `ctl status`, such as *:80, [::1]:80 or unix:/path [default: the only one running]' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from reset" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from add" -l admin -d 'Use the instance with this admin socket' -r -F
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from add" -l listen -d 'Use the instance with this listener: a port, or an address as shown by `ctl status`, such as *:80, [::1]:80 or unix:/path [default: the only one running]' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from remove" -l admin -d 'Use the instance with this admin socket' -r -F
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from remove" -l listen -d 'Use the instance with this listener: a port, or an address as shown by `ctl status`, such as *:80, [::1]:80 or unix:/path [default: the only one running]' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from assign" -l admin -d 'Use the instance with this admin socket' -r -F
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from assign" -l listen -d 'Use the instance with this listener: a port, or an address as shown by `ctl status`, such as *:80, [::1]:80 or unix:/path [default: the only one running]' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from assign" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from policy" -l admin -d 'Use the instance with this admin socket' -r -F
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from policy" -l listen -d 'Use the instance with this listener: a port, or an address as shown by `ctl status`, such as *:80, [::1]:80 or unix:/path [default: the only one running]' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from policy" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from rebalance" -l share -d 'The most of each backend\'s sessions that end [default: all that are too many]' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from rebalance" -l over -d 'The time over which they end' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from rebalance" -l admin -d 'Use the instance with this admin socket' -r -F
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from rebalance" -l listen -d 'Use the instance with this listener: a port, or an address as shown by `ctl status`, such as *:80, [::1]:80 or unix:/path [default: the only one running]' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from rebalance" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from kill" -l admin -d 'Use the instance with this admin socket' -r -F
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from kill" -l listen -d 'Use the instance with this listener: a port, or an address as shown by `ctl status`, such as *:80, [::1]:80 or unix:/path [default: the only one running]' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from kill" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from config" -l admin -d 'Use the instance with this admin socket' -r -F
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from config" -l listen -d 'Use the instance with this listener: a port, or an address as shown by `ctl status`, such as *:80, [::1]:80 or unix:/path [default: the only one running]' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from config" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from reload" -l confirm -d 'Take the change back after TIME, unless `evenkeel ctl confirm` comes before that' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from reload" -l admin -d 'Use the instance with this admin socket' -r -F
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from reload" -l listen -d 'Use the instance with this listener: a port, or an address as shown by `ctl status`, such as *:80, [::1]:80 or unix:/path [default: the only one running]' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from reload" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from confirm" -l admin -d 'Use the instance with this admin socket' -r -F
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from confirm" -l listen -d 'Use the instance with this listener: a port, or an address as shown by `ctl status`, such as *:80, [::1]:80 or unix:/path [default: the only one running]' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from confirm" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from drain-all" -l by -d 'When what is left is cut: after 10m, or at 17:30 (local time)' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from drain-all" -l admin -d 'Use the instance with this admin socket' -r -F
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from drain-all" -l listen -d 'Use the instance with this listener: a port, or an address as shown by `ctl status`, such as *:80, [::1]:80 or unix:/path [default: the only one running]' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from drain-all" -l wait -d 'Wait for the end and print what became of the sessions; the exit status is 1 if some were cut'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from drain-all" -l cancel -d 'Call the drain off, and accept clients again'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from drain-all" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from shutdown" -l admin -d 'Use the instance with this admin socket' -r -F
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from shutdown" -l listen -d 'Use the instance with this listener: a port, or an address as shown by `ctl status`, such as *:80, [::1]:80 or unix:/path [default: the only one running]' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from shutdown" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand status" -l admin -d 'Use the instance with this admin socket' -r -F
complete -c evenkeel -n "__fish_evenkeel_using_subcommand status" -l listen -d 'Use the instance with this listener: a port, or an address as shown by `ctl status`, such as *:80, [::1]:80 or unix:/path [default: the only one running]' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand status" -l html -d 'Print a self-contained HTML page (currently the only format)'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand status" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand top" -l admin -d 'Use the instance with this admin socket' -r -F
complete -c evenkeel -n "__fish_evenkeel_using_subcommand top" -l listen -d 'Use the instance with this listener: a port, or an address as shown by `ctl status`, such as *:80, [::1]:80 or unix:/path [default: the only one running]' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand top" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ready" -l admin -d 'Use the instance with this admin socket' -r -F
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ready" -l listen -d 'Use the instance with this listener: a port, or an address as shown by `ctl status`, such as *:80, [::1]:80 or unix:/path [default: the only one running]' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ready" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand run" -l take-over -d 'Take over the listeners and sessions of the instance with the same admin socket, if it runs'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand run" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand reload" -l confirm -d 'Take the change back after TIME, unless `evenkeel ctl confirm` comes before that' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand reload" -l admin -d 'Use the instance with this admin socket' -r -F
complete -c evenkeel -n "__fish_evenkeel_using_subcommand reload" -l listen -d 'Use the instance with this listener: a port, or an address as shown by `ctl status`, such as *:80, [::1]:80 or unix:/path [default: the only one running]' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand reload" -l or-upgrade -d 'If the program has been replaced since the instance was started, upgrade instead'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand reload" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand upgrade" -l config -d 'Use this configuration file instead of what the instance was started with' -r -F
complete -c evenkeel -n "__fish_evenkeel_using_subcommand upgrade" -l watch -d 'Have the old process stay for TIME after that, so that it serves again if the new one dies' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand upgrade" -l admin -d 'Use the instance with this admin socket' -r -F
complete -c evenkeel -n "__fish_evenkeel_using_subcommand upgrade" -l listen -d 'Use the instance with this listener: a port, or an address as shown by `ctl status`, such as *:80, [::1]:80 or unix:/path [default: the only one running]' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand upgrade" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand check" -l format -d 'How to print reports: text, or json, one object per line' -r -f -a "text\t'With the line that each is about'
json\t'As lines of JSON'"
complete -c evenkeel -n "__fish_evenkeel_using_subcommand check" -l offline -d 'Check the text only; otherwise also users, directories, and whether the listening addresses are free'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand check" -l online -d 'Also resolve and connect to each backend once'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand check" -l strict -d 'Fail on warnings, too'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand check" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand diff" -l admin -d 'Use the instance with this admin socket' -r -F
complete -c evenkeel -n "__fish_evenkeel_using_subcommand diff" -l listen -d 'Use the instance with this listener: a port, or an address as shown by `ctl status`, such as *:80, [::1]:80 or unix:/path [default: the only one running]' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand diff" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand fmt" -l check -d 'Write nothing; exit with status 1 if the file would change'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand fmt" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand schema" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand version" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand engine-clear" -l force -d 'Also those of instances that are running; their sessions in the kernel end'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand engine-clear" -l dry-run -d 'Remove nothing; print what would be removed'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand engine-clear" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand install" -l prefix -d 'The directory that contains bin and share; created if missing' -r -F
complete -c evenkeel -n "__fish_evenkeel_using_subcommand install" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand links" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand balance" -s b -d 'listen on this address only' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand balance" -s B -d 'connect to channels from this local address' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand balance" -s c -d 'send one command to a running instance' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand balance" -s t -d 'give up connecting to a channel after sec seconds' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand balance" -s T -d 'end connections idle for sec seconds' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand balance" -s 6 -d 'listen on an IPv6 socket, for IPv4 clients too'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand balance" -s a -d 'disable a channel that cannot be reached'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand balance" -s d -d 'tell on standard error what is going on'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand balance" -s f -d 'stay in the foreground'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand balance" -s i -d 'control a running instance by dialogue'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand balance" -s H -d 'let clients of an unusable hashed channel move on'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand balance" -s M -d 'accepted; changes nothing'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand balance" -s p -d 'dump all data to standard output'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand pen" -s A -d 'directory of CA certificates' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand pen" -s B -d 'where to send denied clients' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand pen" -s C -d 'listen for penctl(1) here, or on /path' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand pen" -s E -d 'TLS certificate' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand pen" -s F -d 'commands to start with, read again on HUP' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand pen" -s G -d 'file of CA certificates' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand pen" -s K -d 'key of the TLS certificate' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand pen" -s L -d 'oldest TLS protocol: ssl23, ssl2, ssl3 or tls1' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand pen" -s O -d 'carry out a command now' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand pen" -s S -d 'accepted; changes nothing' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand pen" -s T -d 'how long a client is remembered, 0 for ever' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand pen" -s b -d 'leave a server out this long after a failure' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand pen" -s c -d 'how many clients are remembered' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand pen" -s e -d 'emergency server' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand pen" -s i -d 'Windows only' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand pen" -s j -d 'root directory to take (chroot)' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand pen" -s l -d 'log what clients send, to a file or host:port' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand pen" -s m -d 'accepted; changes nothing' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand pen" -s o -d 'as -O' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand pen" -s p -d 'write the process id to this file' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand pen" -s q -d 'accepted; changes nothing' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand pen" -s t -d 'give up connecting to a server after this long' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand pen" -s u -d 'run as this user' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand pen" -s w -d 'HTML status page' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand pen" -s x -d 'connections at one time' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand pen" -s D -d 'accepted; changes nothing'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand pen" -s H -d 'tell servers the client\'s address in HTTP headers'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand pen" -s N -d 'as -h -r'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand pen" -s P -d 'accepted; changes nothing'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand pen" -s Q -d 'accepted; changes nothing'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand pen" -s R -d 'require client certificates'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand pen" -s U -d 'balance UDP'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand pen" -s W -d 'choose servers by weight'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand pen" -s X -d 'allow the command exit'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand pen" -s Z -d 'TLS compatibility mode'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand pen" -s a -d 'dump traffic as text instead of hexadecimal'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand pen" -s d -d 'tell what is going on; repeat for more'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand pen" -s f -d 'stay in the foreground'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand pen" -s h -d 'choose servers by the client\'s address'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand pen" -s n -d 'accepted; changes nothing'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand pen" -s r -d 'do not let clients return to their server'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand pen" -s s -d 'no other server when the chosen one fails'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand mergelogs" -s p -l pen-log -d 'The balancer\'s log, or - for standard input. May be given several times, for rotated logs and for several balancers.' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand mergelogs" -s j -l window -d 'The largest distance in time between a line and its entry in the balancer\'s log. Default 600 for requests and 2 for connections.' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand mergelogs" -s t -l offset -d 'Subtracted from the balancer\'s time stamps, after taking off the local zone\'s offset from UTC. This is what users of the classic program give, because it reads access logs in the local zone. With TZ=UTC it is a plain correction.' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand mergelogs" -l pen-offset -d 'Subtracted from the balancer\'s time stamps, whatever the local zone.' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand mergelogs" -l skew -d 'How far a server\'s clock is ahead; subtracted from its time stamps. May be given for several servers.' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand mergelogs" -l lookahead -d 'The duration of the longest session: how far a session log, which is ordered by the ends of sessions, is read ahead. Default 600.' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand mergelogs" -l format -d 'The access logs\' format: auto (the default: JSON, common or combined, recognised line by line), common, combined, vhost_combined, json, or a pattern as in nginx\'s log_format or Apache\'s LogFormat.' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand mergelogs" -l sort -d 'Sort lines that are up to this much too late in their file.' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand mergelogs" -s o -l output -d 'Write to this file; .gz or .zst at the end of its name compresses it.' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand mergelogs" -l compress -d 'Compress the result: gzip or zstd.' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand mergelogs" -l rejects -d 'Write lines that do not fit the format to this file. They are not in the result.' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand mergelogs" -s c -l no-cache -d 'Search the balancer\'s whole log for each line, without a window.'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand mergelogs" -l one-to-one -d 'Use each entry of the balancer\'s log for one line only, best pairs first. This tells apart clients that fetch the same page in the same second, but finds no client for all but the first of pipelined requests.'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand mergelogs" -l keep-stamps -d 'Keep time stamps as the servers wrote them.'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand mergelogs" -l json -d 'Write a JSON object per line: time, server, client, matched, logged_client, request, status, bytes, referer, agent.'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand mergelogs" -l stats -d 'Report on standard error, for each server, how many lines matched, and how far its clock is from the balancer\'s (the median of all matches).'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand mergelogs" -s q -l quiet -d 'Print no summary and no progress line.'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand mergelogs" -s d -l debug -d 'Accepted for compatibility; --stats reports more.'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand mergelogs" -l output-json -d 'The same as --json.'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand mergelogs" -l legacy -d 'Behave as the classic program 0.34.1, byte for byte, with its bugs: the second line is an hour early, escaped requests and those of more than 100 bytes are not matched, lines are cut at 1023 bytes, and entries outside the window are used.'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand mergelogs" -s h -l help -d 'Print this help and exit.'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand mergelogs" -s V -l version -d 'Print the version and exit.'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand penlog" -l max -d 'Cut lines that are longer, keeping the newline. Default and maximum 65507 (65487 over IPv6); a classic penlogd takes 1023.' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand penlog" -l legacy -d 'Behave as the classic program 0.34.1: send lines of more than 1023 bytes in pieces.'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand penlog" -s h -l help -d 'Print this help and exit.'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand penlog" -s V -l version -d 'Print the version and exit.'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand penlogd" -s l -l log -d 'Append to this file. Default: standard output. HUP closes and reopens it.' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand penlogd" -s n -l remember -d 'The number of announcements to remember. Default 1000.' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand penlogd" -s p -l pid-file -d 'Write the process id to this file; it is removed at the end.' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand penlogd" -s u -l user -d 'Change to this user, with its groups, after the port is open.' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand penlogd" -s j -l chroot -d 'Change the root directory to this one, which contains log and pid file.' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand penlogd" -l allow -d 'Accept datagrams only from this network or address. May be given several times. Default: from everywhere.' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand penlogd" -l wait -d 'Hold a line for up to this long until its announcement arrives. Default 0.' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand penlogd" -l max-age -d 'Forget announcements that are older. Default: never.' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand penlogd" -l stats -d 'Report this often, on standard error (without -f in syslog), what was received, matched, dropped, and lost by the kernel.' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand penlogd" -s f -l foreground -d 'Stay in the foreground.'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand penlogd" -s b -l line-buffered -d 'Write each line at once. Otherwise lines may wait for up to a second.'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand penlogd" -s d -l debug -d 'Report what is received and dropped: on standard error with -f, otherwise to syslog. Repeat for more.'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand penlogd" -l json -d 'Write a JSON object per line.'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand penlogd" -l legacy -d 'Behave as the classic program 0.34.1, with its bugs: only 99 bytes of a request are compared, prefixes match, N-1 announcements are remembered, nothing is written before 4 KiB, and an announcement for a server without an IPv4 address ends the program. Never use it on a port that strangers can reach.'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand penlogd" -s h -l help -d 'Print this help and exit.'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand penlogd" -s V -l version -d 'Print the version and exit.'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand webresolve" -s n -l parallel -d 'Lookups in flight. Default 64; 20 if called as splitwr.' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand webresolve" -s t -l timeout -d 'The time allowed for one address, including one retry. Default 5.' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand webresolve" -s c -l cache -d 'Remember names in this file between runs: for at most 7 days, and the lack of a name for 1 day, or less if the DNS says so.' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand webresolve" -l server -d 'Ask this name server; may be given several times. Default: those in /etc/resolv.conf.' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand webresolve" -l nameserver -d 'Like --server.' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand webresolve" -l rate -d 'At most N lookups a second, with a small burst. Default 500; 0 means no limit, which is for name servers of your own.' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand webresolve" -l field -d 'The field of the line that has the address. Default 1; use 2 after a virtual host.' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand webresolve" -l skip -d 'Leave addresses of this network alone. May be given several times.' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand webresolve" -s o -l output -d 'Write to this file; .gz or .zst at the end of its name compresses it.' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand webresolve" -l compress -d 'Compress the result: gzip or zstd.' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand webresolve" -l verify -d 'Use a name only if it resolves to the address.'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand webresolve" -l private -d 'Look up private, loopback, link-local and documentation addresses too. Default: only if a name server is local.'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand webresolve" -l no-hosts -d 'Ignore /etc/hosts.'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand webresolve" -l stats -d 'Report on standard error how many lines and addresses there were, and what became of them.'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand webresolve" -s h -l help -d 'Print this help and exit.'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand webresolve" -s V -l version -d 'Print the version and exit.'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand splitwr" -s n -l parallel -d 'Lookups in flight. Default 64; 20 if called as splitwr.' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand splitwr" -s t -l timeout -d 'The time allowed for one address, including one retry. Default 5.' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand splitwr" -s c -l cache -d 'Remember names in this file between runs: for at most 7 days, and the lack of a name for 1 day, or less if the DNS says so.' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand splitwr" -l server -d 'Ask this name server; may be given several times. Default: those in /etc/resolv.conf.' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand splitwr" -l nameserver -d 'Like --server.' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand splitwr" -l rate -d 'At most N lookups a second, with a small burst. Default 500; 0 means no limit, which is for name servers of your own.' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand splitwr" -l field -d 'The field of the line that has the address. Default 1; use 2 after a virtual host.' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand splitwr" -l skip -d 'Leave addresses of this network alone. May be given several times.' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand splitwr" -s o -l output -d 'Write to this file; .gz or .zst at the end of its name compresses it.' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand splitwr" -l compress -d 'Compress the result: gzip or zstd.' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand splitwr" -l verify -d 'Use a name only if it resolves to the address.'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand splitwr" -l private -d 'Look up private, loopback, link-local and documentation addresses too. Default: only if a name server is local.'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand splitwr" -l no-hosts -d 'Ignore /etc/hosts.'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand splitwr" -l stats -d 'Report on standard error how many lines and addresses there were, and what became of them.'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand splitwr" -s h -l help -d 'Print this help and exit.'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand splitwr" -s V -l version -d 'Print the version and exit.'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand dwatch" -s f -l file -d 'The configuration file. Default /etc/dwatch.conf.' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand dwatch" -s i -l interval -d 'Stay in the foreground and check this often. HUP rereads the configuration.' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand dwatch" -l state -d 'The file for what is remembered between passes. Default /run/dwatch.state.' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand dwatch" -l reset -d 'Forget that dwatch gave up on this program.' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand dwatch" -l once -d 'Make one pass and exit, for cron. This is the default.'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand dwatch" -s v -l verbose -d 'Report on standard output what is done. Otherwise a pass reports only failures and giving up.'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand dwatch" -s n -l dry-run -d 'Only report what would be done.'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand dwatch" -l check -d 'Only check the configuration.'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand dwatch" -s d -l debug -d 'Report on standard error what was checked.'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand dwatch" -s h -l help -d 'Print this help and exit.'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand dwatch" -s V -l version -d 'Print the version and exit.'
# This file belongs to Evenkeel and is replaced by `evenkeel install`.
