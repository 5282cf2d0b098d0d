complete -c convert-weights -l to -d 'Write a module instead of weights' -r -f -a "torchscript\t'A module that Python, C++ and Fortran load without Podium'"
complete -c convert-weights -l precision -d 'Number format of the module\'s matrix products' -r -f -a "f32\t'32-bit float'
bf16\t'Brain float, for GPUs'
f16\t'IEEE half, for GPUs'"
complete -c convert-weights -s c -l config -d 'Config of `train-model` that says which network it is' -r -F
complete -c convert-weights -l prefix -d 'What stands before the network\'s names in IN: `net.`, `state_dict_ema.`' -r
complete -c convert-weights -l drop -d 'Tensor to leave out; NAME* means all that begin so' -r
complete -c convert-weights -l color -d 'Colours on standard error' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c convert-weights -s f -l force -d 'Replace OUT where it exists'
complete -c convert-weights -l dry-run -d 'Compare and say what would be written, write nothing'
complete -c convert-weights -s v -l verbose -d 'Say more; twice shows everything'
complete -c convert-weights -s q -l quiet -d 'Say only warnings and errors'
complete -c convert-weights -l no-progress -d 'No progress bars or lines'
complete -c convert-weights -s h -l help -d 'Print help (see more with \'--help\')'
complete -c convert-weights -s V -l version -d 'Print version'
