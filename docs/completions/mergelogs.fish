complete -c mergelogs -s p -l pen-log -d 'The balancer\'s log, or - for standard input. May be given several times, for rotated logs and for several balancers.' -r
complete -c mergelogs -s j -l window -d 'The largest distance in time between a line and its entry in the balancer\'s log. Default 600 for requests and 2 for connections.' -r
complete -c mergelogs -s t -l offset -d 'Subtracted from the balancer\'s time stamps, after taking off the local zone\'s offset from UTC. This is what users of the classic program give, because it reads access logs in the local zone. With TZ=UTC it is a plain correction.' -r
complete -c mergelogs -l pen-offset -d 'Subtracted from the balancer\'s time stamps, whatever the local zone.' -r
complete -c mergelogs -l skew -d 'How far a server\'s clock is ahead; subtracted from its time stamps. May be given for several servers.' -r
complete -c mergelogs -l lookahead -d 'The duration of the longest session: how far a session log, which is ordered by the ends of sessions, is read ahead. Default 600.' -r
complete -c mergelogs -l format -d 'The access logs\' format: auto (the default: JSON, common or combined, recognised line by line), common, combined, vhost_combined, json, or a pattern as in nginx\'s log_format or Apache\'s LogFormat.' -r
complete -c mergelogs -l sort -d 'Sort lines that are up to this much too late in their file.' -r
complete -c mergelogs -s o -l output -d 'Write to this file; .gz or .zst at the end of its name compresses it.' -r
complete -c mergelogs -l compress -d 'Compress the result: gzip or zstd.' -r
complete -c mergelogs -l rejects -d 'Write lines that do not fit the format to this file. They are not in the result.' -r
complete -c mergelogs -s c -l no-cache -d 'Search the balancer\'s whole log for each line, without a window.'
complete -c mergelogs -l one-to-one -d 'Use each entry of the balancer\'s log for one line only, best pairs first. This tells apart clients that fetch the same page in the same second, but finds no client for all but the first of pipelined requests.'
complete -c mergelogs -l keep-stamps -d 'Keep time stamps as the servers wrote them.'
complete -c mergelogs -l json -d 'Write a JSON object per line: time, server, client, matched, logged_client, request, status, bytes, referer, agent.'
complete -c mergelogs -l stats -d 'Report on standard error, for each server, how many lines matched, and how far its clock is from the balancer\'s (the median of all matches).'
complete -c mergelogs -s q -l quiet -d 'Print no summary and no progress line.'
complete -c mergelogs -s d -l debug -d 'Accepted for compatibility; --stats reports more.'
complete -c mergelogs -l output-json -d 'The same as --json.'
complete -c mergelogs -l legacy -d 'Behave as the classic program 0.34.1, byte for byte, with its bugs: the second line is an hour early, escaped requests and those of more than 100 bytes are not matched, lines are cut at 1023 bytes, and entries outside the window are used.'
complete -c mergelogs -s h -l help -d 'Print this help and exit.'
complete -c mergelogs -s V -l version -d 'Print the version and exit.'
# This file belongs to Evenkeel and is replaced by `evenkeel install`.
