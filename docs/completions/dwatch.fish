complete -c dwatch -s f -l file -d 'The configuration file. Default /etc/dwatch.conf.' -r
complete -c dwatch -s i -l interval -d 'Stay in the foreground and check this often. HUP rereads the configuration.' -r
complete -c dwatch -l state -d 'The file for what is remembered between passes. Default /run/dwatch.state.' -r
complete -c dwatch -l reset -d 'Forget that dwatch gave up on this program.' -r
complete -c dwatch -l once -d 'Make one pass and exit, for cron. This is the default.'
complete -c dwatch -s v -l verbose -d 'Report on standard output what is done. Otherwise a pass reports only failures and giving up.'
complete -c dwatch -s n -l dry-run -d 'Only report what would be done.'
complete -c dwatch -l check -d 'Only check the configuration.'
complete -c dwatch -s d -l debug -d 'Report on standard error what was checked.'
complete -c dwatch -s h -l help -d 'Print this help and exit.'
complete -c dwatch -s V -l version -d 'Print the version and exit.'
# This file belongs to Evenkeel and is replaced by `evenkeel install`.
