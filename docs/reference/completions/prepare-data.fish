complete -c prepare-data -l raw -d 'Folder of raw data, wins over the config\'s `raw`' -r -F
complete -c prepare-data -l from -d 'Folder of the stage before, or `-` to read its manifest from a pipe' -r
complete -c prepare-data -s o -l out -d 'Output folder [default: outputs/DATE/TIME/STAGE]' -r -F
complete -c prepare-data -l seed -d 'Seed; wins over the config\'s' -r
complete -c prepare-data -l threads -d 'CPU threads [default: OMP_NUM_THREADS or all]' -r
complete -c prepare-data -l limit -d 'Take only the first N units of work, for a quick look' -r
complete -c prepare-data -l color -d 'Colours on standard error' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c prepare-data -s f -l force -d 'Replace a finished stage in the output folder'
complete -c prepare-data -l verify -d 'Hash all files of earlier stages, unchanged ones too'
complete -c prepare-data -l dry-run -d 'Check everything and say what would be done'
complete -c prepare-data -l print-config -d 'Print the resolved config with the origin of each value'
complete -c prepare-data -l fast-dev-run -d 'Smoke run: the first 2 steps or files of each set (as `--limit 2`)'
complete -c prepare-data -s v -l verbose -d 'Say more; twice shows everything'
complete -c prepare-data -s q -l quiet -d 'Say only warnings and errors'
complete -c prepare-data -l no-progress -d 'No progress bars or lines'
complete -c prepare-data -s h -l help -d 'Print help (see more with \'--help\')'
complete -c prepare-data -s V -l version -d 'Print version'
