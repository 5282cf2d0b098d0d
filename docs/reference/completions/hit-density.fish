complete -c hit-density -l data-dir -d 'Folder of events (`event*-hits.csv`)' -r -F
complete -c hit-density -l voxel-size -d 'Side of a voxel in mm' -r
complete -c hit-density -l bounds -d 'Box instead of the one of all hits: x0,x1,y0,y1,z0,z1 in mm' -r
complete -c hit-density -l batch-size -d 'Accepted for old scripts; changes nothing' -r
complete -c hit-density -s o -l output -d 'Where the map goes' -r -F
complete -c hit-density -l threads -d 'CPU threads [default: all cores]' -r
complete -c hit-density -l limit -d 'Take only the first N events' -r
complete -c hit-density -l color -d 'Colours on standard error' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c hit-density -l upstream-compat -d 'Round towards zero, as the original does'
complete -c hit-density -l skip-bad -d 'Leave unreadable events out instead of failing'
complete -c hit-density -l json -d 'Print one line of JSON instead of the text'
complete -c hit-density -s v -l verbose -d 'Say more; twice shows everything'
complete -c hit-density -s q -l quiet -d 'Say only warnings and errors'
complete -c hit-density -l no-progress -d 'No progress bars or lines'
complete -c hit-density -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hit-density -s V -l version -d 'Print version'
