complete -c train-model -l from -d 'Folder of the stage before, or `-` to read its manifest from a pipe' -r
complete -c train-model -s o -l out -d 'Output folder [default: outputs/DATE/TIME/STAGE]' -r -F
complete -c train-model -l seed -d 'Seed; wins over the config\'s' -r
complete -c train-model -l threads -d 'CPU threads [default: OMP_NUM_THREADS or all]' -r
complete -c train-model -l limit -d 'Take only the first N units of work, for a quick look' -r
complete -c train-model -l device -d 'Device: auto, cpu, cuda or cuda:N' -r
complete -c train-model -l resume -d 'Where to take up: auto, never, or a checkpoint folder' -r
complete -c train-model -l init -d 'Begin with these weights: a file, or a training\'s folder' -r -F
complete -c train-model -l prefix -d 'What stands before the network\'s names in the file of `--init`' -r
complete -c train-model -l drop -d 'Tensor of `--init` to leave out; NAME* means all that begin so' -r
complete -c train-model -l nproc -d 'Train with N processes on this machine, each with its share of every batch' -r
complete -c train-model -l rank-timeout -d 'Seconds that a process waits for the others at the start' -r
complete -c train-model -l color -d 'Colours on standard error' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c train-model -s f -l force -d 'Replace a finished stage in the output folder'
complete -c train-model -l verify -d 'Hash all files of earlier stages, unchanged ones too'
complete -c train-model -l dry-run -d 'Check everything and say what would be done'
complete -c train-model -l print-config -d 'Print the resolved config with the origin of each value'
complete -c train-model -l fast-dev-run -d 'Smoke run: one epoch of 2 steps of 8 rows'
complete -c train-model -s v -l verbose -d 'Say more; twice shows everything'
complete -c train-model -s q -l quiet -d 'Say only warnings and errors'
complete -c train-model -l no-progress -d 'No progress bars or lines'
complete -c train-model -s h -l help -d 'Print help (see more with \'--help\')'
complete -c train-model -s V -l version -d 'Print version'
