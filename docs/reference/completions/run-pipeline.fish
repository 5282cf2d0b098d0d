# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_run_pipeline_global_optspecs
    string join \n h/help V/version
end

function __fish_run_pipeline_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_run_pipeline_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_run_pipeline_using_subcommand
    set -l cmd (__fish_run_pipeline_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c run-pipeline -n "__fish_run_pipeline_needs_command" -s h -l help -d 'Print help'
complete -c run-pipeline -n "__fish_run_pipeline_needs_command" -s V -l version -d 'Print version'
complete -c run-pipeline -n "__fish_run_pipeline_needs_command" -f -a "doctor" -d 'Check versions, libtorch, devices, memory, threads and disk'
complete -c run-pipeline -n "__fish_run_pipeline_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c run-pipeline -n "__fish_run_pipeline_using_subcommand doctor" -l out -d 'Folder that runs will write to; its disk is looked at' -r -F
complete -c run-pipeline -n "__fish_run_pipeline_using_subcommand doctor" -l color -d 'Colours on standard error' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c run-pipeline -n "__fish_run_pipeline_using_subcommand doctor" -l json -d 'Print one JSON object instead of a list'
complete -c run-pipeline -n "__fish_run_pipeline_using_subcommand doctor" -s v -l verbose -d 'Say more; twice shows everything'
complete -c run-pipeline -n "__fish_run_pipeline_using_subcommand doctor" -s q -l quiet -d 'Say only warnings and errors'
complete -c run-pipeline -n "__fish_run_pipeline_using_subcommand doctor" -l no-progress -d 'No progress bars or lines'
complete -c run-pipeline -n "__fish_run_pipeline_using_subcommand doctor" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c run-pipeline -n "__fish_run_pipeline_using_subcommand help; and not __fish_seen_subcommand_from doctor help" -f -a "doctor" -d 'Check versions, libtorch, devices, memory, threads and disk'
complete -c run-pipeline -n "__fish_run_pipeline_using_subcommand help; and not __fish_seen_subcommand_from doctor help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
