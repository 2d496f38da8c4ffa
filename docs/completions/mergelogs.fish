complete -c mergelogs -s p -l pen-log -d 'The balancer\'s log; - for standard input. May be given several times, for rotated logs and for several balancers.' -r
complete -c mergelogs -s j -l window -d 'How far an entry of the balancer\'s log may be from a line. Default 600 for requests and 2 for connections.' -r
complete -c mergelogs -s t -l offset -d 'Taken off the balancer\'s stamps, less the local zone\'s offset from UTC: what users of the classic program give, since that one reads access logs in the local zone. With TZ=UTC a plain correction.' -r
complete -c mergelogs -l pen-offset -d 'Taken off the balancer\'s stamps, whatever the local zone.' -r
complete -c mergelogs -l skew -d 'By how much a server\'s clock is fast; taken off its stamps. May be given for several servers.' -r
complete -c mergelogs -l lookahead -d 'How long the longest session lasts: how far a session log, which is in the order of ends, is read ahead. Default 600.' -r
complete -c mergelogs -l format -d 'The access logs\' format: auto (default: JSON, common or combined, told by the line), common, combined, vhost_combined, json, or a pattern as in nginx\'s log_format or Apache\'s LogFormat.' -r
complete -c mergelogs -l sort -d 'Put lines into order that come up to this late in their file.' -r
complete -c mergelogs -s o -l output -d 'Write to this file; its ending .gz or .zst compresses.' -r
complete -c mergelogs -l compress -d 'Compress the result: gzip or zstd.' -r
complete -c mergelogs -l rejects -d 'Keep lines that fit no format in this file. They are not in the result.' -r
complete -c mergelogs -s c -l no-cache -d 'Search the whole balancer\'s log for every line, without any window.'
complete -c mergelogs -l one-to-one -d 'Let each entry of the balancer\'s log serve one line, best pairs first. Tells clients apart that fetch the same page in the same second, but finds nobody for the later ones of pipelined requests.'
complete -c mergelogs -l keep-stamps -d 'Leave time stamps as the servers wrote them.'
complete -c mergelogs -l json -d 'Write JSON, an object per line: time, server, client, matched, logged_client, request, status, bytes, referer, agent.'
complete -c mergelogs -l stats -d 'Say on standard error for each server how many lines matched, and by how much its clock differs from the balancer\'s (the median of all matches).'
complete -c mergelogs -s q -l quiet -d 'No summary and no progress line.'
complete -c mergelogs -s d -l debug -d 'Accepted for the classic\'s sake; --stats tells more.'
complete -c mergelogs -l output-json -d 'The same as --json.'
complete -c mergelogs -l legacy -d 'Do as the classic program 0.34.1 did, byte for byte, with its faults: the line after the first one an hour early, requests of over 100 bytes and escaped ones unmatched, lines cut at 1023 bytes, entries from outside the window.'
complete -c mergelogs -s h -l help -d 'Print this help and exit.'
complete -c mergelogs -s V -l version -d 'Print the version and exit.'
# This file belongs to Evenkeel and is replaced by `evenkeel install`.
