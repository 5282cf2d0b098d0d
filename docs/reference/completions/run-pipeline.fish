# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_run_pipeline_global_optspecs
    string join \n j/jobs= until= f/force= size= set= rehearse= k/keep-going fail-fast gpus= mem-mb= result n/dry-run explain status estimate dag dot mermaid export= o/out= json v/verbose q/quiet color= no-progress h/help V/version
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

complete -c run-pipeline -n "__fish_run_pipeline_needs_command" -s j -l jobs -d 'Stages that may run at the same time; 0: as many as cores' -r
complete -c run-pipeline -n "__fish_run_pipeline_needs_command" -l until -d 'Run only this stage (or group) and what it needs' -r
complete -c run-pipeline -n "__fish_run_pipeline_needs_command" -s f -l force -d 'Run this stage (or group) even when up to date; without a name all' -r
complete -c run-pipeline -n "__fish_run_pipeline_needs_command" -l size -d 'Size to run, from now on: that of the file `SYSTEM.SIZE.yaml`' -r
complete -c run-pipeline -n "__fish_run_pipeline_needs_command" -l set -d 'Value that differs from the size\'s, with outs of its own' -r
complete -c run-pipeline -n "__fish_run_pipeline_needs_command" -l rehearse -d 'Run every stage at its smallest in a scratch folder, to see that all of it works' -r -F
complete -c run-pipeline -n "__fish_run_pipeline_needs_command" -l gpus -d 'GPUs to give to stages [default: as found]' -r
complete -c run-pipeline -n "__fish_run_pipeline_needs_command" -l mem-mb -d 'Memory to give to stages, in MB [default: as found]' -r
complete -c run-pipeline -n "__fish_run_pipeline_needs_command" -l export -d 'Write the pipeline for another engine' -r -f -a "snakemake\t'A Snakefile'"
complete -c run-pipeline -n "__fish_run_pipeline_needs_command" -s o -l out -d 'File for --export [default: standard output]' -r -F
complete -c run-pipeline -n "__fish_run_pipeline_needs_command" -l color -d 'Colours on standard error' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c run-pipeline -n "__fish_run_pipeline_needs_command" -s k -l keep-going -d 'After a failure go on with what does not need it'
complete -c run-pipeline -n "__fish_run_pipeline_needs_command" -l fail-fast -d 'After a failure end the running stages, too; they save their work'
complete -c run-pipeline -n "__fish_run_pipeline_needs_command" -l result -d 'Print named outs and metrics as one line of JSON'
complete -c run-pipeline -n "__fish_run_pipeline_needs_command" -s n -l dry-run -d 'Print what would run and why; run nothing'
complete -c run-pipeline -n "__fish_run_pipeline_needs_command" -l explain -d 'The same for all stages, with their commands'
complete -c run-pipeline -n "__fish_run_pipeline_needs_command" -l status -d 'Print the size in force and what would run; exit code 1 if anything'
complete -c run-pipeline -n "__fish_run_pipeline_needs_command" -l estimate -d 'Print what a run would take: inputs, bytes, memory, time, and whether the disk holds it'
complete -c run-pipeline -n "__fish_run_pipeline_needs_command" -l dag -d 'Print the stages and what they wait for'
complete -c run-pipeline -n "__fish_run_pipeline_needs_command" -l dot -d 'With --dag: for Graphviz'
complete -c run-pipeline -n "__fish_run_pipeline_needs_command" -l mermaid -d 'With --dag: for Mermaid'
complete -c run-pipeline -n "__fish_run_pipeline_needs_command" -l json -d 'Print the plan or the record of the run as JSON'
complete -c run-pipeline -n "__fish_run_pipeline_needs_command" -s v -l verbose -d 'Say more; twice shows everything'
complete -c run-pipeline -n "__fish_run_pipeline_needs_command" -s q -l quiet -d 'Say only warnings and errors'
complete -c run-pipeline -n "__fish_run_pipeline_needs_command" -l no-progress -d 'No progress bars or lines'
complete -c run-pipeline -n "__fish_run_pipeline_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c run-pipeline -n "__fish_run_pipeline_needs_command" -s V -l version -d 'Print version'
complete -c run-pipeline -n "__fish_run_pipeline_needs_command" -a "doctor" -d 'Check versions, libtorch, devices, memory, threads and disk'
complete -c run-pipeline -n "__fish_run_pipeline_needs_command" -a "report" -d 'Compare runs, and show what pipelines did, on one page'
complete -c run-pipeline -n "__fish_run_pipeline_needs_command" -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c run-pipeline -n "__fish_run_pipeline_using_subcommand doctor" -l out -d 'Folder that runs will write to; its disk is looked at' -r -F
complete -c run-pipeline -n "__fish_run_pipeline_using_subcommand doctor" -l color -d 'Colours on standard error' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c run-pipeline -n "__fish_run_pipeline_using_subcommand doctor" -l json -d 'Print one JSON object instead of a list'
complete -c run-pipeline -n "__fish_run_pipeline_using_subcommand doctor" -s v -l verbose -d 'Say more; twice shows everything'
complete -c run-pipeline -n "__fish_run_pipeline_using_subcommand doctor" -s q -l quiet -d 'Say only warnings and errors'
complete -c run-pipeline -n "__fish_run_pipeline_using_subcommand doctor" -l no-progress -d 'No progress bars or lines'
complete -c run-pipeline -n "__fish_run_pipeline_using_subcommand doctor" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c run-pipeline -n "__fish_run_pipeline_using_subcommand report" -l out -d 'The page that is written' -r -F
complete -c run-pipeline -n "__fish_run_pipeline_using_subcommand report" -l color -d 'Colours on standard error' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c run-pipeline -n "__fish_run_pipeline_using_subcommand report" -l force -d 'Replace a file that is no such page'
complete -c run-pipeline -n "__fish_run_pipeline_using_subcommand report" -s v -l verbose -d 'Say more; twice shows everything'
complete -c run-pipeline -n "__fish_run_pipeline_using_subcommand report" -s q -l quiet -d 'Say only warnings and errors'
complete -c run-pipeline -n "__fish_run_pipeline_using_subcommand report" -l no-progress -d 'No progress bars or lines'
complete -c run-pipeline -n "__fish_run_pipeline_using_subcommand report" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c run-pipeline -n "__fish_run_pipeline_using_subcommand help; and not __fish_seen_subcommand_from doctor report help" -f -a "doctor" -d 'Check versions, libtorch, devices, memory, threads and disk'
complete -c run-pipeline -n "__fish_run_pipeline_using_subcommand help; and not __fish_seen_subcommand_from doctor report help" -f -a "report" -d 'Compare runs, and show what pipelines did, on one page'
complete -c run-pipeline -n "__fish_run_pipeline_using_subcommand help; and not __fish_seen_subcommand_from doctor report help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
