# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_hill_climb_global_optspecs
    string join \n h/help V/version
end

function __fish_hill_climb_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_hill_climb_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_hill_climb_using_subcommand
    set -l cmd (__fish_hill_climb_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c hill-climb -n "__fish_hill_climb_needs_command" -s h -l help -d 'Print help'
complete -c hill-climb -n "__fish_hill_climb_needs_command" -s V -l version -d 'Print version'
complete -c hill-climb -n "__fish_hill_climb_needs_command" -f -a "search" -d 'Search the weights that blend out-of-fold predictions best'
complete -c hill-climb -n "__fish_hill_climb_needs_command" -f -a "blend" -d 'Apply weights to submission files'
complete -c hill-climb -n "__fish_hill_climb_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c hill-climb -n "__fish_hill_climb_using_subcommand search" -s t -l truth -d 'Truth: a file, the folder of `prepare-data`, or `-`' -r
complete -c hill-climb -n "__fish_hill_climb_using_subcommand search" -l target -d 'Columns of the truth that are predicted' -r
complete -c hill-climb -n "__fish_hill_climb_using_subcommand search" -l id -d 'Column of the ids [default: the one that all tables share]' -r
complete -c hill-climb -n "__fish_hill_climb_using_subcommand search" -l sample-weight -d 'Column of the truth that weights its rows' -r
complete -c hill-climb -n "__fish_hill_climb_using_subcommand search" -l classes -d 'Order of text labels, comma-separated [default: sorted]' -r
complete -c hill-climb -n "__fish_hill_climb_using_subcommand search" -s c -l config -d 'Config of the search (YAML)' -r -F
complete -c hill-climb -n "__fish_hill_climb_using_subcommand search" -s s -l set -d 'Override of a config key' -r
complete -c hill-climb -n "__fish_hill_climb_using_subcommand search" -l metric -d 'What is optimised: r2, rmse, auc, logloss .. [config: r2]' -r
complete -c hill-climb -n "__fish_hill_climb_using_subcommand search" -l metric-command -d 'A command that judges blends in place of a metric' -r
complete -c hill-climb -n "__fish_hill_climb_using_subcommand search" -l space -d 'Blend as value, rank, logit or geometric [config: value]' -r
complete -c hill-climb -n "__fish_hill_climb_using_subcommand search" -l method -d 'climb, optimum or non_negative [config: climb]' -r
complete -c hill-climb -n "__fish_hill_climb_using_subcommand search" -l start -d 'Start: best, equal or a table of weights [config: best]' -r
complete -c hill-climb -n "__fish_hill_climb_using_subcommand search" -l step -d 'Distance of the trial weights [config: 0.01]' -r
complete -c hill-climb -n "__fish_hill_climb_using_subcommand search" -l step-range -d 'Trial weights from MIN to MAX' -r
complete -c hill-climb -n "__fish_hill_climb_using_subcommand search" -l weight-range -d 'Final weights from MIN to MAX only' -r
complete -c hill-climb -n "__fish_hill_climb_using_subcommand search" -l tolerance -d 'A step must gain more than this [config: 1e-12]' -r
complete -c hill-climb -n "__fish_hill_climb_using_subcommand search" -l max-steps -d 'Steps at most' -r
complete -c hill-climb -n "__fish_hill_climb_using_subcommand search" -l max-models -d 'Models with a weight at most' -r
complete -c hill-climb -n "__fish_hill_climb_using_subcommand search" -l bags -d 'Average over N climbs, each with a share of the models' -r
complete -c hill-climb -n "__fish_hill_climb_using_subcommand search" -l folds -d 'Also score on K held-out folds, drawn by seed' -r
complete -c hill-climb -n "__fish_hill_climb_using_subcommand search" -l fold-column -d 'The same with the folds of a column of the truth' -r
complete -c hill-climb -n "__fish_hill_climb_using_subcommand search" -l bootstrap -d 'Also search N resamples of the rows, for the spread of weights' -r
complete -c hill-climb -n "__fish_hill_climb_using_subcommand search" -s o -l out -d 'Output folder [default: outputs/DATE/TIME/STAGE]' -r -F
complete -c hill-climb -n "__fish_hill_climb_using_subcommand search" -l seed -d 'Seed; wins over the config\'s' -r
complete -c hill-climb -n "__fish_hill_climb_using_subcommand search" -l threads -d 'CPU threads [default: OMP_NUM_THREADS or all]' -r
complete -c hill-climb -n "__fish_hill_climb_using_subcommand search" -l limit -d 'Take only the first N units of work, for a quick look' -r
complete -c hill-climb -n "__fish_hill_climb_using_subcommand search" -l color -d 'Colours on standard error' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c hill-climb -n "__fish_hill_climb_using_subcommand search" -l mask-missing -d 'Leave out rows that a member lacks (no id, NaN)'
complete -c hill-climb -n "__fish_hill_climb_using_subcommand search" -l by-position -d 'Match rows by their place even where there are ids'
complete -c hill-climb -n "__fish_hill_climb_using_subcommand search" -l wide -d 'Every column of the one file is a member'
complete -c hill-climb -n "__fish_hill_climb_using_subcommand search" -l maximize -d 'The command\'s number should be large'
complete -c hill-climb -n "__fish_hill_climb_using_subcommand search" -l minimize -d 'The command\'s number should be small'
complete -c hill-climb -n "__fish_hill_climb_using_subcommand search" -l search-threshold -d 'Search the threshold between two labels as well'
complete -c hill-climb -n "__fish_hill_climb_using_subcommand search" -l positive -d 'No negative trial weights'
complete -c hill-climb -n "__fish_hill_climb_using_subcommand search" -l free-sum -d 'Weights need not sum to one'
complete -c hill-climb -n "__fish_hill_climb_using_subcommand search" -l with-replacement -d 'Models may be taken more than once'
complete -c hill-climb -n "__fish_hill_climb_using_subcommand search" -l polish -d 'Polish the weights at the end'
complete -c hill-climb -n "__fish_hill_climb_using_subcommand search" -l per-group -d 'Weights for every group of columns as well'
complete -c hill-climb -n "__fish_hill_climb_using_subcommand search" -l per-target -d 'Weights for every target or class as well'
complete -c hill-climb -n "__fish_hill_climb_using_subcommand search" -l write-oof -d 'Also write the blended predictions, `oof.safetensors`'
complete -c hill-climb -n "__fish_hill_climb_using_subcommand search" -s f -l force -d 'Replace a finished stage in the output folder'
complete -c hill-climb -n "__fish_hill_climb_using_subcommand search" -l verify -d 'Hash all files of earlier stages, unchanged ones too'
complete -c hill-climb -n "__fish_hill_climb_using_subcommand search" -l dry-run -d 'Check everything and say what would be done'
complete -c hill-climb -n "__fish_hill_climb_using_subcommand search" -l print-config -d 'Print the resolved config with the origin of each value'
complete -c hill-climb -n "__fish_hill_climb_using_subcommand search" -s v -l verbose -d 'Say more; twice shows everything'
complete -c hill-climb -n "__fish_hill_climb_using_subcommand search" -s q -l quiet -d 'Say only warnings and errors'
complete -c hill-climb -n "__fish_hill_climb_using_subcommand search" -l no-progress -d 'No progress bars or lines'
complete -c hill-climb -n "__fish_hill_climb_using_subcommand search" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hill-climb -n "__fish_hill_climb_using_subcommand blend" -s w -l weights -d 'Weights: csv, json, pickled table, or folder of a search' -r
complete -c hill-climb -n "__fish_hill_climb_using_subcommand blend" -l base -d 'Model whose ids and columns the blend takes [default: the first]' -r
complete -c hill-climb -n "__fish_hill_climb_using_subcommand blend" -l id -d 'Column of the ids [default: the one that all files share]' -r
complete -c hill-climb -n "__fish_hill_climb_using_subcommand blend" -l sample -d 'Sample submission whose ids and columns the blend takes' -r -F
complete -c hill-climb -n "__fish_hill_climb_using_subcommand blend" -l space -d 'Space of the blend [default: that of the weights]' -r
complete -c hill-climb -n "__fish_hill_climb_using_subcommand blend" -l calibration -d 'Calibrate how sure the blend is of its predictions' -r -F
complete -c hill-climb -n "__fish_hill_climb_using_subcommand blend" -l name -d 'Name of the files without their ending' -r
complete -c hill-climb -n "__fish_hill_climb_using_subcommand blend" -l competition -d 'Competition, for the line that submits the blend' -r
complete -c hill-climb -n "__fish_hill_climb_using_subcommand blend" -l decimals -d 'Digits behind the point in the csv' -r
complete -c hill-climb -n "__fish_hill_climb_using_subcommand blend" -s o -l out -d 'Output folder [default: outputs/DATE/TIME/STAGE]' -r -F
complete -c hill-climb -n "__fish_hill_climb_using_subcommand blend" -l threads -d 'CPU threads [default: OMP_NUM_THREADS or all]' -r
complete -c hill-climb -n "__fish_hill_climb_using_subcommand blend" -l color -d 'Colours on standard error' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c hill-climb -n "__fish_hill_climb_using_subcommand blend" -l keep-equal -d 'Keep columns in which all submissions agree'
complete -c hill-climb -n "__fish_hill_climb_using_subcommand blend" -l no-csv -d 'Write no csv beside the parquet'
complete -c hill-climb -n "__fish_hill_climb_using_subcommand blend" -s f -l force -d 'Replace a finished stage in the output folder'
complete -c hill-climb -n "__fish_hill_climb_using_subcommand blend" -l verify -d 'Hash all files of earlier stages, unchanged ones too'
complete -c hill-climb -n "__fish_hill_climb_using_subcommand blend" -l dry-run -d 'Check everything and say what would be done'
complete -c hill-climb -n "__fish_hill_climb_using_subcommand blend" -s v -l verbose -d 'Say more; twice shows everything'
complete -c hill-climb -n "__fish_hill_climb_using_subcommand blend" -s q -l quiet -d 'Say only warnings and errors'
complete -c hill-climb -n "__fish_hill_climb_using_subcommand blend" -l no-progress -d 'No progress bars or lines'
complete -c hill-climb -n "__fish_hill_climb_using_subcommand blend" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hill-climb -n "__fish_hill_climb_using_subcommand help; and not __fish_seen_subcommand_from search blend help" -f -a "search" -d 'Search the weights that blend out-of-fold predictions best'
complete -c hill-climb -n "__fish_hill_climb_using_subcommand help; and not __fish_seen_subcommand_from search blend help" -f -a "blend" -d 'Apply weights to submission files'
complete -c hill-climb -n "__fish_hill_climb_using_subcommand help; and not __fish_seen_subcommand_from search blend help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
