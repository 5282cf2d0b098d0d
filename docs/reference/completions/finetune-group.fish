complete -c finetune-group -l from -d 'Folder of the stage before, or `-` to read its manifest from a pipe' -r
complete -c finetune-group -l data -d 'Arrays: folder of `prepare-data` [default: the base\'s]' -r
complete -c finetune-group -l base -d 'Base weights instead of those of `--from`' -r -F
complete -c finetune-group -l group -d 'Groups: all, or numbers as in 0,4' -r
complete -c finetune-group -s o -l out -d 'Output folder [default: outputs/DATE/TIME/STAGE]' -r -F
complete -c finetune-group -l seed -d 'Seed; wins over the config\'s' -r
complete -c finetune-group -l threads -d 'CPU threads [default: OMP_NUM_THREADS or all]' -r
complete -c finetune-group -l limit -d 'Take only the first N units of work, for a quick look' -r
complete -c finetune-group -l device -d 'Device: auto, cpu, cuda or cuda:N' -r
complete -c finetune-group -l resume -d 'Where to take up: auto or never' -r
complete -c finetune-group -l color -d 'Colours on standard error' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c finetune-group -s f -l force -d 'Replace a finished stage in the output folder'
complete -c finetune-group -l verify -d 'Hash all files of earlier stages, unchanged ones too'
complete -c finetune-group -l dry-run -d 'Check everything and say what would be done'
complete -c finetune-group -l print-config -d 'Print the resolved config with the origin of each value'
complete -c finetune-group -l fast-dev-run -d 'Smoke run: one epoch of 2 steps of 8 rows a group'
complete -c finetune-group -s v -l verbose -d 'Say more; twice shows everything'
complete -c finetune-group -s q -l quiet -d 'Say only warnings and errors'
complete -c finetune-group -l no-progress -d 'No progress bars or lines'
complete -c finetune-group -s h -l help -d 'Print help (see more with \'--help\')'
complete -c finetune-group -s V -l version -d 'Print version'
