//! The child takes its own rights away, before it opens any input.
//!
//! Resource limits, then landlock (only the folders of model and base, only reading, no network), then seccomp: an allow list of the
//! system calls that computing, reading files and starting threads need. Everything else answers `EPERM`.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, Scope,
};
use nix::{
    libc,
    sys::{
        prctl,
        resource::{Resource, setrlimit},
        signal::Signal,
    },
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter,
};

/// What the child allows itself.
pub(super) struct Rights<'a> {
    pub(super) dir: &'a Path,
    pub(super) base: Option<&'a Path>,
    pub(super) memory: u64,
    pub(super) cpu_seconds: u64,
}

/// Takes all rights away but these; returns in words how far the kernel enforces landlock.
pub(super) fn confine(rights: &Rights<'_>) -> Result<&'static str, String> {
    let explain = |what: &'static str| move |error: nix::Error| format!("cannot set {what}: {error}");
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(explain("the parent's death signal"))?;
    prctl::set_no_new_privs().map_err(explain("no_new_privs"))?;
    prctl::set_dumpable(false).map_err(explain("dumpable"))?;
    for (resource, soft, hard) in [
        (Resource::RLIMIT_DATA, rights.memory, rights.memory),
        (Resource::RLIMIT_CPU, rights.cpu_seconds, rights.cpu_seconds + 5),
        (Resource::RLIMIT_FSIZE, 0, 0),
        (Resource::RLIMIT_CORE, 0, 0),
        (Resource::RLIMIT_NOFILE, 1024, 1024),
    ] {
        setrlimit(resource, soft, hard).map_err(explain("resource limits"))?;
    }
    let enforced = restrict_files(rights).map_err(|error| format!("cannot restrict file access: {error}"))?;
    restrict_calls().map_err(|error| format!("cannot restrict system calls: {error}"))?;
    Ok(enforced)
}

fn restrict_files(rights: &Rights<'_>) -> Result<&'static str, Box<dyn std::error::Error>> {
    let abi = ABI::V6;
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))?
        .handle_access(AccessNet::from_all(abi))?
        .scope(Scope::from_all(abi))?
        .create()?;
    for dir in std::iter::once(rights.dir).chain(rights.base) {
        rules = rules.add_rule(PathBeneath::new(PathFd::new(dir)?, AccessFs::ReadFile | AccessFs::ReadDir))?;
        for target in linked_files(dir) {
            rules = rules.add_rule(PathBeneath::new(PathFd::new(target)?, AccessFs::ReadFile))?;
        }
    }
    Ok(match rules.restrict_self()?.ruleset {
        RulesetStatus::FullyEnforced => "fully enforced",
        RulesetStatus::PartiallyEnforced => "partially enforced",
        RulesetStatus::NotEnforced => "not enforced",
    })
}

/// Snapshots in the hub's local cache are folders of links to blobs elsewhere. Only names that the test reads count.
fn linked_files(dir: &Path) -> Vec<PathBuf> {
    let entries = dir.read_dir().into_iter().flatten().flatten();
    let links = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink()));
    let read = |path: &PathBuf| path.extension().is_some_and(|e| e == "json" || e == "safetensors" || e == "gguf");
    let targets = links.map(|entry| entry.path()).filter(read).filter_map(|path| path.canonicalize().ok());
    targets.filter(|path| path.is_file()).take(1024).collect()
}

fn restrict_calls() -> Result<(), Box<dyn std::error::Error>> {
    let arch: TargetArch = std::env::consts::ARCH.try_into()?;
    let mut rules: std::collections::BTreeMap<i64, Vec<SeccompRule>> =
        ALLOWED.iter().chain(ALLOWED_HERE).map(|call| (*call, Vec::new())).collect();
    rules.insert(libc::SYS_clone, vec![has_flag(0, libc::CLONE_THREAD.unsigned_abs().into())?]);
    // Memory that can be executed was mapped when the program started.
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        let executable = libc::PROT_EXEC.unsigned_abs().into();
        rules.insert(call, vec![SeccompRule::new(vec![condition(2, SeccompCmpOp::MaskedEq(executable), 0)?])?]);
    }
    // Limits may be read (the thread library does), not written.
    rules.insert(libc::SYS_prlimit64, vec![SeccompRule::new(vec![condition(2, SeccompCmpOp::Eq, 0)?])?]);
    let name = libc::PR_SET_NAME.unsigned_abs().into();
    let map_name = libc::PR_SET_VMA.unsigned_abs().into();
    rules.insert(
        libc::SYS_prctl,
        vec![
            SeccompRule::new(vec![condition(0, SeccompCmpOp::Eq, name)?])?,
            SeccompRule::new(vec![condition(0, SeccompCmpOp::Eq, map_name)?])?,
        ],
    );
    let eperm = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let allow_list = SeccompFilter::new(rules, eperm, SeccompAction::Allow, arch)?;
    // `clone3` hides its flags in memory; "not implemented" makes the C library fall back to `clone`.
    let enosys = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let clone3 = [(libc::SYS_clone3, Vec::new())].into_iter().collect();
    let no_clone3 = SeccompFilter::new(clone3, SeccompAction::Allow, enosys, arch)?;
    // The allow list forbids to add filters, so it comes last.
    let programs: [BpfProgram; 2] = [no_clone3.try_into()?, allow_list.try_into()?];
    for program in &programs {
        apply_filter(program)?;
    }
    Ok(())
}

fn condition(argument: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Qword, operator, value)
}

fn has_flag(argument: u8, flag: u64) -> Result<SeccompRule, seccompiler::BackendError> {
    SeccompRule::new(vec![condition(argument, SeccompCmpOp::MaskedEq(flag), flag)?])
}

const ALLOWED: &[i64] = &[
    // Files.
    libc::SYS_read,
    libc::SYS_pread64,
    libc::SYS_readv,
    libc::SYS_preadv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_openat,
    libc::SYS_close,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_getdents64,
    libc::SYS_readlinkat,
    libc::SYS_fcntl,
    libc::SYS_fadvise64,
    libc::SYS_getcwd,
    // Memory.
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    // Threads, time, randomness, the end.
    libc::SYS_clone3,
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_get_robust_list,
    libc::SYS_rseq,
    libc::SYS_set_tid_address,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_getcpu,
    libc::SYS_membarrier,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_gettimeofday,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getrandom,
    libc::SYS_getrusage,
    libc::SYS_uname,
    libc::SYS_sysinfo,
    libc::SYS_ppoll,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_tgkill,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

#[cfg(target_arch = "x86_64")]
const ALLOWED_HERE: &[i64] = &[libc::SYS_open, libc::SYS_stat, libc::SYS_lstat, libc::SYS_readlink, libc::SYS_poll];

#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_HERE: &[i64] = &[];
