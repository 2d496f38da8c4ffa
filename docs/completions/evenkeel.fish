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
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l quarantine -d 'Leave a backend that failed out this long, unless all are out; 0 never does' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l failover -d 'What to try after a backend failed: whole-tier, later-tiers or nothing' -r -f -a "whole-tier\t''
later-tiers\t''
nothing\t''"
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l hash-failover -d 'The same for tiers that hash' -r -f -a "whole-tier\t''
later-tiers\t''
nothing\t''"
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l affinity -d 'Send clients back to where they went; remember so many [default: none]' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l affinity-time -d 'Forget a client this long after its last session began; 0 or never: do not' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l allow -d 'Serve these clients: ADDR, ADDR/LEN or country:SE; the first --allow or --deny that fits decides, else the opposite of the last' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l deny -d 'Do not serve these clients; see --allow' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l reject -d 'Where clients go that may not be served [default: they are refused]' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l max-sessions -d 'Open sessions after which clients wait to be accepted [default: what descriptors allow]' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l max-connecting -d 'Connects under way after which clients wait to be accepted' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l connect-timeout -d 'Longest wait for a backend to accept, per attempt' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l idle-timeout -d 'End a session silent in both directions this long; 0 or never: do not' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l half-close-timeout -d 'End a session that one side has finished and that is silent this long; 0 or never: do not; now: when that side has finished' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l backend-half-close-timeout -d 'The same where the backend has finished [default: as --half-close-timeout]' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l linger -d 'Longest wait for the last bytes before a reset to be delivered' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l shutdown-timeout -d 'How long sessions may go on after TERM or INT; 0 cuts at once, never waits for all' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l source -d 'Local address of connections to backends' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l splice -d 'Move bulk data through kernel pipes: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l cut -d 'What peers see of a session cut by the balancer: reset or close' -r -f -a "reset\t''
close\t''"
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l workers -d 'Threads that move data [default: one per available core]' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l spin -d 'Poll this long before sleeping: faster answers for idle CPU; 0 does not' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l pid-file -d 'Write the process id to this file' -r -F
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l user -d 'Become this user once listening' -r
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l root -d 'Make this the root directory (chroot) before becoming the user' -r -F
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l admin -d 'Where to put the admin socket [default: in the runtime directory]' -r -F
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l log-format -d 'How to write the log: text or json (standard error, or syslog with --daemon)' -r -f -a "text\t''
json\t''"
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l no-last-resort -d 'Refuse clients when all backends are left out'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l auto-disable -d 'Disable a backend that failed until `evenkeel ctl enable`'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l affinity-count-only -d 'Only count what remembered clients do; choose as if they were new'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l share-port -d 'Share the port with other processes; the kernel spreads clients'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l transparent -d 'Connect to backends from the client\'s own address (CAP_NET_ADMIN)'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l forwarded-headers -d 'Add X-Forwarded-For and X-Forwarded-Proto to HTTP requests'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l daemon -d 'Run in the background once listening'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -l print-config -d 'Print the whole command line that this one stands for, and leave'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -s V -l version -d 'Print version'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -a "demo" -d 'Start three small web servers and a balancer in front of them, to try things out'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -a "ctl" -d 'Look at a running instance, and change it'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -a "status" -d 'Show a running instance as a web page, also as a CGI program; changes nothing'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -a "help" -d 'Print help, on a verb if one is named'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -a "version" -d 'Print the version'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -a "links" -d 'Make links in DIR, so that the classics can be called by their names'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -a "balance" -d 'Be the classic balance(1); everything behind this word follows its grammar'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -a "pen" -d 'Be the classic pen(1); everything behind this word follows its grammar'
complete -c evenkeel -n "__fish_evenkeel_needs_command" -a "penctl" -d 'Be the classic penctl(1), which sends commands to a running pen'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand demo" -l port -d 'Port of the balancer; the web servers take the next free ones' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand demo" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and not __fish_seen_subcommand_from status sessions enable disable drain limit quarantine reset add assign policy kill shutdown" -l admin -d 'The instance with this admin socket' -r -F
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and not __fish_seen_subcommand_from status sessions enable disable drain limit quarantine reset add assign policy kill shutdown" -l listen -d 'The instance listening there: a port, or what `ctl status` shows, such as *:80, [::1]:80 or unix:/path [default: the only one running]' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and not __fish_seen_subcommand_from status sessions enable disable drain limit quarantine reset add assign policy kill shutdown" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and not __fish_seen_subcommand_from status sessions enable disable drain limit quarantine reset add assign policy kill shutdown" -f -a "status" -d 'Show listeners, tiers, backends and counters'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and not __fish_seen_subcommand_from status sessions enable disable drain limit quarantine reset add assign policy kill shutdown" -f -a "sessions" -d 'List open sessions'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and not __fish_seen_subcommand_from status sessions enable disable drain limit quarantine reset add assign policy kill shutdown" -f -a "enable" -d 'Put a backend into service'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and not __fish_seen_subcommand_from status sessions enable disable drain limit quarantine reset add assign policy kill shutdown" -f -a "disable" -d 'Take a backend out of service; open sessions go on'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and not __fish_seen_subcommand_from status sessions enable disable drain limit quarantine reset add assign policy kill shutdown" -f -a "drain" -d 'As disable, and log when its last session has ended'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and not __fish_seen_subcommand_from status sessions enable disable drain limit quarantine reset add assign policy kill shutdown" -f -a "limit" -d 'Change how many sessions a backend may have; 0 for no limit'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and not __fish_seen_subcommand_from status sessions enable disable drain limit quarantine reset add assign policy kill shutdown" -f -a "quarantine" -d 'Leave a backend out for some time from now, as after a failed connect; 0 ends that'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and not __fish_seen_subcommand_from status sessions enable disable drain limit quarantine reset add assign policy kill shutdown" -f -a "reset" -d 'Set the counters of a backend to zero'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and not __fish_seen_subcommand_from status sessions enable disable drain limit quarantine reset add assign policy kill shutdown" -f -a "add" -d 'Add a backend to a tier, disabled'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and not __fish_seen_subcommand_from status sessions enable disable drain limit quarantine reset add assign policy kill shutdown" -f -a "assign" -d 'Give a disabled backend another address'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and not __fish_seen_subcommand_from status sessions enable disable drain limit quarantine reset add assign policy kill shutdown" -f -a "policy" -d 'Change how a tier chooses; policies are those of --policy'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and not __fish_seen_subcommand_from status sessions enable disable drain limit quarantine reset add assign policy kill shutdown" -f -a "kill" -d 'End one session'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and not __fish_seen_subcommand_from status sessions enable disable drain limit quarantine reset add assign policy kill shutdown" -f -a "shutdown" -d 'Stop listening, let sessions finish, and end'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from status" -l admin -d 'The instance with this admin socket' -r -F
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from status" -l listen -d 'The instance listening there: a port, or what `ctl status` shows, such as *:80, [::1]:80 or unix:/path [default: the only one running]' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from status" -l json -d 'Print everything as JSON'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from status" -l wide -d 'Print every column in full, wider than 80 characters'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from status" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from sessions" -l admin -d 'The instance with this admin socket' -r -F
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from sessions" -l listen -d 'The instance listening there: a port, or what `ctl status` shows, such as *:80, [::1]:80 or unix:/path [default: the only one running]' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from sessions" -l json -d 'Print everything as JSON'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from sessions" -l wide -d 'Print every column in full, wider than 80 characters'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from sessions" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from enable" -l admin -d 'The instance with this admin socket' -r -F
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from enable" -l listen -d 'The instance listening there: a port, or what `ctl status` shows, such as *:80, [::1]:80 or unix:/path [default: the only one running]' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from enable" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from disable" -l admin -d 'The instance with this admin socket' -r -F
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from disable" -l listen -d 'The instance listening there: a port, or what `ctl status` shows, such as *:80, [::1]:80 or unix:/path [default: the only one running]' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from disable" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from drain" -l wait -d 'Wait until the backend has no sessions, at most TIME if that is given; the exit status is 1 if some are still open then' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from drain" -l admin -d 'The instance with this admin socket' -r -F
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from drain" -l listen -d 'The instance listening there: a port, or what `ctl status` shows, such as *:80, [::1]:80 or unix:/path [default: the only one running]' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from drain" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from limit" -l admin -d 'The instance with this admin socket' -r -F
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from limit" -l listen -d 'The instance listening there: a port, or what `ctl status` shows, such as *:80, [::1]:80 or unix:/path [default: the only one running]' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from limit" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from quarantine" -l admin -d 'The instance with this admin socket' -r -F
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from quarantine" -l listen -d 'The instance listening there: a port, or what `ctl status` shows, such as *:80, [::1]:80 or unix:/path [default: the only one running]' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from quarantine" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from reset" -l admin -d 'The instance with this admin socket' -r -F
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from reset" -l listen -d 'The instance listening there: a port, or what `ctl status` shows, such as *:80, [::1]:80 or unix:/path [default: the only one running]' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from reset" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from add" -l admin -d 'The instance with this admin socket' -r -F
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from add" -l listen -d 'The instance listening there: a port, or what `ctl status` shows, such as *:80, [::1]:80 or unix:/path [default: the only one running]' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from assign" -l admin -d 'The instance with this admin socket' -r -F
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from assign" -l listen -d 'The instance listening there: a port, or what `ctl status` shows, such as *:80, [::1]:80 or unix:/path [default: the only one running]' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from assign" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from policy" -l admin -d 'The instance with this admin socket' -r -F
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from policy" -l listen -d 'The instance listening there: a port, or what `ctl status` shows, such as *:80, [::1]:80 or unix:/path [default: the only one running]' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from policy" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from kill" -l admin -d 'The instance with this admin socket' -r -F
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from kill" -l listen -d 'The instance listening there: a port, or what `ctl status` shows, such as *:80, [::1]:80 or unix:/path [default: the only one running]' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from kill" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from shutdown" -l admin -d 'The instance with this admin socket' -r -F
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from shutdown" -l listen -d 'The instance listening there: a port, or what `ctl status` shows, such as *:80, [::1]:80 or unix:/path [default: the only one running]' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand ctl; and __fish_seen_subcommand_from shutdown" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand status" -l admin -d 'The instance with this admin socket' -r -F
complete -c evenkeel -n "__fish_evenkeel_using_subcommand status" -l listen -d 'The instance listening there: a port, or what `ctl status` shows, such as *:80, [::1]:80 or unix:/path [default: the only one running]' -r
complete -c evenkeel -n "__fish_evenkeel_using_subcommand status" -l html -d 'As one HTML page that needs nothing else; what there is'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand status" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand version" -s h -l help -d 'Print help'
complete -c evenkeel -n "__fish_evenkeel_using_subcommand links" -s h -l help -d 'Print help'
