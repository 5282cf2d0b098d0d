complete -c predict -l from -d 'Folder of the stage before, or `-` to read its manifest from a pipe' -r
complete -c predict -l weights -d 'Weights instead of `--from`: one file, or one for each network' -r -F
complete -c predict -l data -d 'Arrays: folder of `prepare-data` [default: the networks\']' -r
complete -c predict -l set -d 'Set of prepared events [default: the config\'s]' -r -f -a "train\t'What networks are trained on'
valid\t'What they are judged on while they are trained'
test\t'What is handed in'"
complete -c predict -l picture -d 'Event that is drawn, from 0 [default: the config\'s]' -r
complete -c predict -l sample -d 'Sample submission: its header and ids must agree' -r -F
complete -c predict -l batch-size -d 'Rows or events of a batch [default: the config\'s]' -r
complete -c predict -l precision -d 'Number format of the forward pass [default: the config\'s, f32]' -r -f -a "f32\t'32-bit float'
bf16\t'Brain float, for GPUs'
f16\t'IEEE half, for GPUs'"
complete -c predict -l zero-list -d 'Columns that scored worse than zero become 0 [default: auto]' -r -f -a "auto\t'As the network\'s config says'
apply\t'Always'
ignore\t'Never'"
complete -c predict -s o -l out -d 'Output folder [default: outputs/DATE/TIME/STAGE]' -r -F
complete -c predict -l seed -d 'Seed; wins over the config\'s' -r
complete -c predict -l threads -d 'CPU threads [default: OMP_NUM_THREADS or all]' -r
complete -c predict -l limit -d 'Take only the first N units of work, for a quick look' -r
complete -c predict -l device -d 'Device: auto, cpu, cuda or cuda:N' -r
complete -c predict -l color -d 'Colours on standard error' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c predict -l csv -d 'Also write the submission as csv'
complete -c predict -l embeddings -d 'Embeddings instead of predictions'
complete -c predict -s f -l force -d 'Replace a finished stage in the output folder'
complete -c predict -l verify -d 'Hash all files of earlier stages, unchanged ones too'
complete -c predict -l dry-run -d 'Check everything and say what would be done'
complete -c predict -l print-config -d 'Print the resolved config with the origin of each value'
complete -c predict -l fast-dev-run -d 'Smoke run: the first rows (no complete submission)'
complete -c predict -s v -l verbose -d 'Say more; twice shows everything'
complete -c predict -s q -l quiet -d 'Say only warnings and errors'
complete -c predict -l no-progress -d 'No progress bars or lines'
complete -c predict -s h -l help -d 'Print help (see more with \'--help\')'
complete -c predict -s V -l version -d 'Print version'
