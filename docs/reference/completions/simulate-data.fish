complete -c simulate-data -s o -l out -d 'Output folder [default: outputs/DATE/TIME/STAGE]' -r -F
complete -c simulate-data -l seed -d 'Seed; wins over the config\'s' -r
complete -c simulate-data -l threads -d 'CPU threads [default: OMP_NUM_THREADS or all]' -r
complete -c simulate-data -l limit -d 'Take only the first N units of work, for a quick look' -r
complete -c simulate-data -l color -d 'Colours on standard error' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c simulate-data -s f -l force -d 'Replace a finished stage in the output folder'
complete -c simulate-data -l verify -d 'Hash all files of earlier stages, unchanged ones too'
complete -c simulate-data -l dry-run -d 'Check everything and say what would be done'
complete -c simulate-data -l print-config -d 'Print the resolved config with the origin of each value'
complete -c simulate-data -l fast-dev-run -d 'Smoke run: 2 steps of each month, 2 events of each file (as `--limit 2`)'
complete -c simulate-data -s v -l verbose -d 'Say more; twice shows everything'
complete -c simulate-data -s q -l quiet -d 'Say only warnings and errors'
complete -c simulate-data -l no-progress -d 'No progress bars or lines'
complete -c simulate-data -s h -l help -d 'Print help (see more with \'--help\')'
complete -c simulate-data -s V -l version -d 'Print version'
