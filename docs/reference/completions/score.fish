complete -c score -s t -l truth -d 'Truth: arrays (`valid.safetensors`), a table, a folder, or `-`' -r
complete -c score -l id -d 'Column of the ids in tables [default: found by its name]' -r
complete -c score -l target -d 'Columns of the truth that are scored [default: all]' -r
complete -c score -l cut -d 'What counts as a particle and a track, as KEY=VALUE' -r
complete -c score -l summary -d 'Write the means as JSON, the form of `dvc metrics`' -r -F
complete -c score -l table -d 'Write one table of all members, their experiments and scores' -r -F
complete -c score -l errors -d 'Write a csv table of every target\'s errors in its own unit' -r -F
complete -c score -l zonal -d 'Write a csv table of means and errors by latitude' -r -F
complete -c score -s o -l out -d 'Write `score.json` and `stage.json` to this folder' -r -F
complete -c score -l threads -d 'CPU threads [default: OMP_NUM_THREADS or all]' -r
complete -c score -l limit -d 'Take only the first N rows, or events' -r
complete -c score -l color -d 'Colours on standard error' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c score -l mask-missing -d 'Leave out rows that predictions lack (no id, NaN)'
complete -c score -l by-position -d 'Match rows by their place even where there are ids'
complete -c score -l no-zero-rule -d 'Let columns with R2 below that of predicting zero keep it'
complete -c score -l targets -d 'List every target in the table, not only the worst'
complete -c score -l json -d 'Print the JSON over several lines'
complete -c score -s f -l force -d 'Replace a finished stage in the output folder'
complete -c score -l verify -d 'Hash all files of earlier stages, unchanged ones too'
complete -c score -s v -l verbose -d 'Say more; twice shows everything'
complete -c score -s q -l quiet -d 'Say only warnings and errors'
complete -c score -l no-progress -d 'No progress bars or lines'
complete -c score -s h -l help -d 'Print help (see more with \'--help\')'
complete -c score -s V -l version -d 'Print version'
