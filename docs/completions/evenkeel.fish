# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_evenkeel_global_optspecs
    string join \n policy= quarantine= no-last-resort failover= hash-failover= auto-disable affinity= affinity-time= affinity-count-only allow= deny= reject= max-sessions= max-connecting= share-port connect-timeout= idle-timeout= half-close-timeout= backend-half-close-timeout= linger= shutdown-timeout= source= transparent forwarded-headers splice= cut= workers= spin= daemon pid-file= user= root= admin= log-format= print-config h/help V/version
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

complete -c evenkeel -n "__fish_evenkeel_needs_command" -l policy -d 'How a tier chooses: round-robin, hash, least-sessions, random, rotation, address-hash, address-port-hash, weighted or priority' -r -f -a "round-robin\t''
hash\t''
least-sessions\t''
random\t''
rotation\t''
address-hash\t''
address-port-hash\t''
weighted\t''
priority\t''"
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l quarantine -d 'How long to skip a failed backend, unless all have failed; 0 disables this' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l failover -d 'What to try after a backend has failed: whole-tier, later-tiers or nothing' -r -f -a "whole-tier\t''
later-tiers\t''
nothing\t''"
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l hash-failover -d 'Like --failover, for tiers that hash' -r -f -a "whole-tier\t''
later-tiers\t''
nothing\t''"
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l affinity -d 'Send returning clients to the backend they used before; remember this many clients [default: none]' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l affinity-time -d 'Forget a client this long after its last session began; 0 or never disables this' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l allow -d 'Serve these clients: ADDR, ADDR/LEN or country:SE. Of --allow and --deny, the first match decides; without one, the opposite of the last rule applies' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l deny -d 'Do not serve these clients; see --allow' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l reject -d 'Where to send denied clients [default: they are refused]' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l max-sessions -d 'Maximum number of open sessions; further clients wait [default: as many as file descriptors allow]' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l max-connecting -d 'Maximum number of connects in progress; further clients wait' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l connect-timeout -d 'How long to wait for a backend to accept a connection, per attempt' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l idle-timeout -d 'End a session after this long without data; 0 or never disables this' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l half-close-timeout -d 'End a session that one side has finished after this long without data; 0 or never disables this, now ends it at once' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l backend-half-close-timeout -d 'Like --half-close-timeout, if the backend has finished [default: the same value]' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l linger -d 'How long to wait for the last bytes before a reset to be delivered' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l shutdown-timeout -d 'How long sessions may continue after TERM or INT; 0 cuts them at once, never waits for all' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l source -d 'Local address for connections to backends' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l splice -d 'Relay bulk data through kernel pipes: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l cut -d 'What peers see when a session is cut: reset or close' -r -f -a "reset\t''
close\t''"
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l workers -d 'Number of threads that relay data [default: one per available core]' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l spin -d 'Poll this long before sleeping: lower latency, more CPU; 0 disables this' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l pid-file -d 'Write the process id to this file' -r -F
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l user -d 'Change to this user once listening' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l root -d 'Change the root directory (chroot) before changing to the user' -r -F
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l admin -d 'Path of the admin socket [default: a file in the runtime directory]' -r -F
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l log-format -d 'Format of the log: text or json (on standard error, or in syslog with --daemon)' -r -f -a "text\t''
json\t''"
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l no-last-resort -d 'Refuse clients when all backends have failed'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l auto-disable -d 'Disable a failed backend until `evenkeel ctl enable` enables it'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l affinity-count-only -d 'Only count the sessions of remembered clients; choose as for new ones'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l share-port -d 'Share the port with other processes; the kernel distributes clients'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l transparent -d 'Connect to backends from the client\'s address (needs CAP_NET_RAW)'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l forwarded-headers -d 'Add X-Forwarded-For and X-Forwarded-Proto to HTTP requests'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l daemon -d 'Run in the background once listening'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l print-config -d 'Print the full command line that this one stands for, and exit'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -s V -l version -d 'Print version'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -a "demo" -d 'Start three small web servers with a balancer in front of them, for experiments'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -a "ctl" -d 'Show and change a running instance'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -a "status" -d 'Print a running instance\'s status as a web page, also as a CGI program'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -a "help" -d 'Print help, for a verb if one is named'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -a "version" -d 'Print the version'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -a "links" -d 'Create links in DIR, so that the classics can be called by their names'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -a "balance" -d 'Run as the classic balance(1); all arguments after this word follow its grammar'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -a "pen" -d 'Run as the classic pen(1); all arguments after this word follow its grammar'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -a "penctl" -d 'Run as the classic penctl(1), which sends commands to a running pen'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand demo" -l port -d 'Port of the balancer; the web servers use the next free ports' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand demo" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and not __fish_seen_subcommand_from status sessions enable disable drain limit quarantine reset add assign policy kill shutdown" -l admin -d 'Use the instance with this admin socket' -r -F
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and not __fish_seen_subcommand_from status sessions enable disable drain limit quarantine reset add assign policy kill shutdown" -l listen -d 'Use the instance with this listener: a port, or an address as shown by `ctl status`, such as *:80, [::1]:80 or unix:/path [default: the only one running]' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and not __fish_seen_subcommand_from status sessions enable disable drain limit quarantine reset add assign policy kill shutdown" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and not __fish_seen_subcommand_from status sessions enable disable drain limit quarantine reset add assign policy kill shutdown" -f -a "status" -d 'Show listeners, tiers, backends and counters'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and not __fish_seen_subcommand_from status sessions enable disable drain limit quarantine reset add assign policy kill shutdown" -f -a "sessions" -d 'List open sessions'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and not __fish_seen_subcommand_from status sessions enable disable drain limit quarantine reset add assign policy kill shutdown" -f -a "enable" -d 'Put a backend into service'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and not __fish_seen_subcommand_from status sessions enable disable drain limit quarantine reset add assign policy kill shutdown" -f -a "disable" -d 'Take a backend out of service; its open sessions continue'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and not __fish_seen_subcommand_from status sessions enable disable drain limit quarantine reset add assign policy kill shutdown" -f -a "drain" -d 'Like disable, and log when the backend\'s last session has ended'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and not __fish_seen_subcommand_from status sessions enable disable drain limit quarantine reset add assign policy kill shutdown" -f -a "limit" -d 'Limit a backend\'s open sessions; 0 removes the limit'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and not __fish_seen_subcommand_from status sessions enable disable drain limit quarantine reset add assign policy kill shutdown" -f -a "quarantine" -d 'Skip a backend for some time from now, as after a failed connect; 0 ends this'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and not __fish_seen_subcommand_from status sessions enable disable drain limit quarantine reset add assign policy kill shutdown" -f -a "reset" -d 'Set a backend\'s counters to zero'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and not __fish_seen_subcommand_from status sessions enable disable drain limit quarantine reset add assign policy kill shutdown" -f -a "add" -d 'Add a disabled backend to a tier'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and not __fish_seen_subcommand_from status sessions enable disable drain limit quarantine reset add assign policy kill shutdown" -f -a "assign" -d 'Give a disabled backend another address'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and not __fish_seen_subcommand_from status sessions enable disable drain limit quarantine reset add assign policy kill shutdown" -f -a "policy" -d 'Change a tier\'s policy to one that --policy takes'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and not __fish_seen_subcommand_from status sessions enable disable drain limit quarantine reset add assign policy kill shutdown" -f -a "kill" -d 'End one session'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and not __fish_seen_subcommand_from status sessions enable disable drain limit quarantine reset add assign policy kill shutdown" -f -a "shutdown" -d 'Stop listening, let sessions finish, and exit'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from status" -l admin -d 'Use the instance with this admin socket' -r -F
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from status" -l listen -d 'Use the instance with this listener: a port, or an address as shown by `ctl status`, such as *:80, [::1]:80 or unix:/path [default: the only one running]' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from status" -l json -d 'Print everything as JSON'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from status" -l wide -d 'Print every column in full, wider than 80 characters'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from status" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from sessions" -l admin -d 'Use the instance with this admin socket' -r -F
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from sessions" -l listen -d 'Use the instance with this listener: a port, or an address as shown by `ctl status`, such as *:80, [::1]:80 or unix:/path [default: the only one running]' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from sessions" -l json -d 'Print everything as JSON'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from sessions" -l wide -d 'Print every column in full, wider than 80 characters'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from sessions" -s h -l help -d 'Print help'
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
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from assign" -l admin -d 'Use the instance with this admin socket' -r -F
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from assign" -l listen -d 'Use the instance with this listener: a port, or an address as shown by `ctl status`, such as *:80, [::1]:80 or unix:/path [default: the only one running]' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from assign" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from policy" -l admin -d 'Use the instance with this admin socket' -r -F
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from policy" -l listen -d 'Use the instance with this listener: a port, or an address as shown by `ctl status`, such as *:80, [::1]:80 or unix:/path [default: the only one running]' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from policy" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from kill" -l admin -d 'Use the instance with this admin socket' -r -F
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from kill" -l listen -d 'Use the instance with this listener: a port, or an address as shown by `ctl status`, such as *:80, [::1]:80 or unix:/path [default: the only one running]' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from kill" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from shutdown" -l admin -d 'Use the instance with this admin socket' -r -F
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from shutdown" -l listen -d 'Use the instance with this listener: a port, or an address as shown by `ctl status`, such as *:80, [::1]:80 or unix:/path [default: the only one running]' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from shutdown" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand status" -l admin -d 'Use the instance with this admin socket' -r -F
complete -c evenkeel -n "__fish_evenkeel_using_subcommand status" -l listen -d 'Use the instance with this listener: a port, or an address as shown by `ctl status`, such as *:80, [::1]:80 or unix:/path [default: the only one running]' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand status" -l html -d 'Print a self-contained HTML page (currently the only format)'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand status" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand version" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand links" -s h -l help -d 'Print help'
