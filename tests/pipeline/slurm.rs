//! The exported Snakefile on a real one-node Slurm, started on loopback and stopped again.
//!
//! Installs Debian's `slurm-wlm` and `munge` where they are missing, which takes root. Jobs are looked at only every 40
//! seconds by Snakemake's executor, so the pipelines have two steps and the test takes some minutes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::debian;
use crate::parallel::wait_for;
use crate::project::Project;
use crate::support::binary;
use crate::tools::{self, checked};
use crate::training::{TRAIN_ARGS, workshop};

const PIPELINE: &str = "\
stages:
  part:
    foreach: [1, 2]
    do:
      cmd: awk -F, 'NR == 1 { print } NR > 1 { print $1 FS ${item} * $2 }' truth.csv > part${item}.csv
      deps: [truth.csv]
      outs:
      - part${item}.csv: {cache: false}
      meta: {mem_mb: 100, threads: 1, runtime: 5}
  score:
    cmd: score --truth truth.csv exact=part1.csv blend=part2.csv --summary score.json > /dev/null
    deps: [truth.csv, part1.csv, part2.csv]
    metrics:
    - score.json: {cache: false}
    meta: {mem_mb: 100, runtime: 5}
";

/// What the first part predicts exactly, and the second twice as high.
const TRUTH: &str = "sample_id,target\nr1,1\nr2,2\nr3,4\n";

/// Where Slurm's programs look for their configuration when nothing else says so: jobs get a clean environment.
const CONFIG: &str = "/etc/slurm/slurm.conf";

/// Three daemons, ended with the test.
struct Slurm {
    folder: tempfile::TempDir,
}

impl Slurm {
    /// None, with the reason printed, where it cannot be had.
    fn start() -> Option<Self> {
        let skip = |reason: &str| println!("skipped: no Slurm here: {reason}");
        if Command::new("id").arg("-u").output().ok()?.stdout != b"0\n" {
            skip("its daemons need root");
            return None;
        }
        if Path::new(CONFIG).symlink_metadata().is_ok() {
            skip(&format!("`{CONFIG}` belongs to another one"));
            return None;
        }
        let found = |name: &str| ["/usr/sbin", "/usr/bin"].iter().any(|folder| Path::new(folder).join(name).exists());
        let there = || ["slurmctld", "slurmd", "munged", "srun"].iter().all(|name| found(name));
        if let Err(reason) = debian::install(there, "slurm-wlm munge") {
            skip(&reason);
            return None;
        }
        let slurm = Self { folder: tempfile::tempdir().unwrap() };
        slurm.configure();
        let at = |name: &str| slurm.at(name).display().to_string();
        let munged = ["key-file", "socket", "pid-file", "log-file", "seed-file"];
        let munged = munged.iter().map(|option| format!("--{option}={}", at(&format!("munge.{option}"))));
        slurm.daemon("munged", &munged.chain(["--force".into()]).collect::<Vec<_>>());
        slurm.daemon("slurmctld", &["-f".into(), at("slurm.conf")]);
        slurm.daemon("slurmd", &["-f".into(), at("slurm.conf"), "-N".into(), host()]);
        wait_for("the node", || {
            let info = Command::new("sinfo").args(["-h", "-o", "%T"]).output().unwrap();
            info.stdout.starts_with(b"idle")
        });
        Some(slurm)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn configure(&self) {
        let key = self.at("munge.key-file");
        common::durable::write(&key, &[7; 1024]).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o400)).unwrap();
        fs::create_dir(self.at("state")).unwrap();
        let (folder, host) = (self.folder.path().display(), host());
        let (control, node) = (free_port(), free_port());
        let text = format!(
            "ClusterName=podium\nSlurmctldHost={host}(127.0.0.1)\nSlurmUser=root\nSlurmdUser=root\n\
             AuthType=auth/munge\nAuthInfo=socket={folder}/munge.socket\nCredType=cred/munge\n\
             StateSaveLocation={folder}/state\nSlurmdSpoolDir={folder}/spool\n\
             SlurmctldPidFile={folder}/slurmctld.pid\nSlurmdPidFile={folder}/slurmd.pid\n\
             SlurmctldLogFile={folder}/slurmctld.log\nSlurmdLogFile={folder}/slurmd.log\n\
             SlurmctldPort={control}\nSlurmdPort={node}\nProctrackType=proctrack/linuxproc\n\
             TaskPlugin=task/none\nSelectType=select/cons_tres\nSelectTypeParameters=CR_CPU_Memory\n\
             ReturnToService=2\nMpiDefault=none\nMinJobAge=600\n\
             NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=1000 State=UNKNOWN\n\
             PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP\n"
        );
        common::durable::write(self.at("slurm.conf"), text.as_bytes()).unwrap();
        fs::create_dir_all("/etc/slurm").unwrap();
        std::os::unix::fs::symlink(self.at("slurm.conf"), CONFIG).unwrap();
    }

    fn daemon(&self, name: &str, args: &[String]) {
        let program = Path::new("/usr/sbin").join(name);
        checked(&Command::new(program).args(args).output().unwrap(), name);
    }
}

impl Drop for Slurm {
    fn drop(&mut self) {
        for name in ["slurmd.pid", "slurmctld.pid", "munge.pid-file"] {
            if let Ok(pid) = fs::read_to_string(self.at(name)) {
                let _ = Command::new("kill").arg(pid.trim()).status();
            }
        }
        let _ = fs::remove_file(CONFIG);
    }
}

fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    name.trim().split('.').next().unwrap().to_string()
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// One Slurm serves both: a machine has one configuration.
#[test]
fn slurm_starts_ranks_that_train_together_and_runs_the_exported_pipeline() {
    let Some(_slurm) = Slurm::start() else { return };
    two_ranks_of_a_step_train_together();
    the_exported_pipeline_runs();
    a_job_a_month_prepares_side_by_side();
}

fn a_job_a_month_prepares_side_by_side() {
    let Some(tool) = tools::snakemake() else { return };
    let project = crate::months::project();
    project.run(&["pipelines/leap-data", "--export", "snakemake", "--out", "Snakefile"]);
    // The node of the test has less than a month of the published size is given.
    let text = project.read("Snakefile").replace("mem_mb=2000", "mem_mb=200").replace("disk_mb=7000", "disk_mb=100");
    project.write("Snakefile", &text.replace("threads: 2", "threads: 1"));
    let args = "--executor slurm --jobs 4 --slurm-status-command squeue --slurm-init-seconds-before-status-checks 2 \
                --seconds-between-status-checks 1 --latency-wait 10";
    let output = tool.command("snakemake", project.path()).args(args.split_whitespace()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(said.matches("has been submitted with SLURM jobid").count(), 4, "{said}");
    crate::months::check(&project);
}

fn two_ranks_of_a_step_train_together() {
    let out = tempfile::tempdir().unwrap();
    let mut command = Command::new("srun");
    command.args(["-n", "2"]).arg(binary("train-model")).args(["--rank-timeout", "60"]).args(TRAIN_ARGS);
    let output = command.arg(out.path().join("run")).current_dir(workshop()).output().unwrap();
    checked(&output, "srun");
    let manifest: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(manifest["metrics"]["steps"], 48, "{manifest}");
    assert!(out.path().join("run/stage.json").exists());
    // The checkpoint belongs to two processes: one refuses to go on with it.
    let manifest = fs::read_to_string(out.path().join("run/checkpoints/last/manifest.json")).unwrap();
    assert!(manifest.contains("over 2 processes"), "{manifest}");
}

fn the_exported_pipeline_runs() {
    let Some(tool) = tools::snakemake() else { return };
    let project = Project::new(&[("dvc.yaml", PIPELINE), ("truth.csv", TRUTH)]);
    project.run(&["--export", "snakemake", "--out", "Snakefile"]);
    let args = "--executor slurm --jobs 2 --slurm-status-command squeue --slurm-init-seconds-before-status-checks 2 \
                --seconds-between-status-checks 1 --latency-wait 10";
    let output = tool.command("snakemake", project.path()).args(args.split_whitespace()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("has been submitted with SLURM jobid"), "{said}");
    // The last job is one of our own binaries.
    let score: serde_json::Value = serde_json::from_str(&project.read("score.json")).unwrap();
    assert_eq!(score["members"]["exact"], 1.0, "{score}");
    assert!(score["blend"].as_f64().unwrap() < 0.0, "{score}");
}
