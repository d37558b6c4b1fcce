//! The system calls that are refused, as data: each row with its number here and its reason.
//! A row must never be without a reason; the documents are generated from this table.

use seccompiler::{SeccompCmpArgLen as Width, SeccompCmpOp as Op};

/// Where a row holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// At every level.
    Everywhere,
    /// Only where the run shares the host's process ids, network and IPC (levels C and D).
    Shared,
}

/// One condition on an argument.
#[derive(Clone, Debug)]
pub struct Test {
    /// Which argument, from 0.
    pub argument: u8,
    /// How many bits of it the kernel looks at.
    pub width: Width,
    /// How it is compared.
    pub operation: Op,
    /// With what.
    pub value: u64,
}

/// A refused call. Several rows of one call: any of them refuses.
#[derive(Clone, Debug)]
pub struct Row {
    /// The call's name, as in its man page.
    pub name: &'static str,
    /// The call's number on this machine.
    pub number: i64,
    /// Where the row holds.
    pub scope: Scope,
    /// All of these must hold; none at all means always.
    pub tests: Vec<Test>,
    /// Why it is refused.
    pub reason: &'static str,
}

/// The highest call number that was read through when this table was made (`file_setattr`, Linux 6.17).
/// Whatever is newer does not exist inside.
pub const NUMBER_MAX: u32 = 469;

macro_rules! always {
    ($rows:ident, $scope:ident, $reason:literal: $($name:ident)*) => {$(
        $rows.push(Row { name: stringify!($name), number: libc::$name, scope: Scope::$scope, tests: Vec::new(), reason: $reason });
    )*};
}

macro_rules! numbered {
    ($rows:ident, $scope:ident, $reason:literal: $($name:literal = $number:literal)*) => {$(
        $rows.push(Row { name: $name, number: $number, scope: Scope::$scope, tests: Vec::new(), reason: $reason });
    )*};
}

/// Calls that answer ENOSYS, so that callers fall back to an older one that can be judged.
#[must_use]
pub fn unknown() -> Vec<Row> {
    let mut rows = Vec::new();
    unseen(&mut rows);
    rows
}

fn unseen(rows: &mut Vec<Row>) {
    always!(rows, Everywhere, "its flags are in memory, where a filter cannot read them; callers fall back to clone": SYS_clone3);
    always!(rows, Everywhere, "it makes calls that no filter sees": SYS_io_uring_setup SYS_io_uring_enter SYS_io_uring_register);
    numbered!(rows, Everywhere, "memory that not even the launcher can look at": "SYS_memfd_secret" = 447);
}

/// Calls that answer EPERM.
#[must_use]
pub fn refused() -> Vec<Row> {
    let mut rows = Vec::new();
    kernel(&mut rows);
    namespaces(&mut rows);
    others(&mut rows);
    arguments(&mut rows);
    outsiders(&mut rows);
    sockets(&mut rows);
    rows
}

fn kernel(rows: &mut Vec<Row>) {
    always!(rows, Everywhere, "code or tracing inside the kernel": SYS_bpf SYS_perf_event_open SYS_init_module SYS_finit_module SYS_delete_module SYS_kexec_load);
    #[cfg(target_arch = "x86_64")]
    always!(rows, Everywhere, "a new kernel": SYS_kexec_file_load);
    #[cfg(target_arch = "aarch64")]
    numbered!(rows, Everywhere, "a new kernel": "SYS_kexec_file_load" = 294);
    always!(rows, Everywhere, "the state of the whole machine": SYS_reboot SYS_swapon SYS_swapoff SYS_acct SYS_quotactl SYS_syslog SYS_sethostname SYS_setdomainname SYS_vhangup);
    always!(rows, Everywhere, "the clock of the whole machine": SYS_clock_settime SYS_settimeofday SYS_adjtimex SYS_clock_adjtime);
    always!(rows, Everywhere, "keys of the caller": SYS_keyctl SYS_add_key SYS_request_key);
    always!(rows, Everywhere, "stops the kernel half-way through a copy; it has helped most exploits of late": SYS_userfaultfd);
    numbered!(rows, Everywhere, "quota of the whole machine": "SYS_quotactl_fd" = 443);
    #[cfg(target_arch = "x86_64")]
    {
        always!(rows, Everywhere, "hardware ports": SYS_iopl SYS_ioperm);
        always!(rows, Everywhere, "segments that the kernel rarely meets": SYS_modify_ldt);
        numbered!(rows, Everywhere, "only the kernel's own trampoline calls it": "SYS_uretprobe" = 335);
    }
}

fn namespaces(rows: &mut Vec<Row>) {
    always!(rows, Everywhere, "a changed view of the files": SYS_mount SYS_umount2 SYS_pivot_root SYS_chroot SYS_open_tree SYS_move_mount SYS_fsopen SYS_fsconfig SYS_fsmount SYS_fspick);
    numbered!(rows, Everywhere, "a changed view of the files": "SYS_mount_setattr" = 442 "SYS_open_tree_attr" = 467);
    numbered!(rows, Everywhere, "the mounts of the host by number": "SYS_statmount" = 457 "SYS_listmount" = 458);
    always!(rows, Everywhere, "a nested namespace gives full capabilities in it": SYS_unshare SYS_setns);
    always!(rows, Everywhere, "a file by its number, past every path": SYS_open_by_handle_at);
    always!(rows, Everywhere, "events of files outside": SYS_fanotify_init SYS_fanotify_mark);
    numbered!(rows, Everywhere, "the labels of the walls themselves": "SYS_lsm_set_self_attr" = 460);
}

fn others(rows: &mut Vec<Row>) {
    always!(rows, Everywhere, "memory placement of other processes; never needed by a build": SYS_move_pages SYS_migrate_pages SYS_mbind SYS_set_mempolicy);
    always!(rows, Everywhere, "pages of a pipe in another's memory": SYS_vmsplice);
    always!(rows, Everywhere, "descriptors and pointers of other processes": SYS_kcmp SYS_pidfd_getfd);
    numbered!(rows, Everywhere, "memory of other processes": "SYS_process_madvise" = 440);
    numbered!(rows, Everywhere, "tells what others read": "SYS_cachestat" = 451);
    always!(rows, Shared, "other processes of the same uid": SYS_ptrace SYS_process_vm_readv SYS_process_vm_writev);
    always!(rows, Shared, "shared memory of the host": SYS_shmget SYS_shmat SYS_shmctl SYS_semget SYS_semctl SYS_msgget SYS_msgsnd SYS_msgrcv SYS_msgctl SYS_mq_open SYS_mq_unlink);
}

fn test(argument: u8, operation: Op, value: u64) -> Test {
    Test {
        argument,
        width: Width::Dword,
        operation,
        value,
    }
}

/// `CLONE_NEW*` without NEWTIME, which clone(2) does not take.
const NEW_NAMESPACES: u64 = 0x7E02_0000;

type Rows<'a> = &'a mut Vec<Row>;

fn push(
    rows: Rows<'_>,
    scope: Scope,
    call: (&'static str, i64),
    tests: Vec<Test>,
    reason: &'static str,
) {
    let (name, number) = call;
    rows.push(Row {
        name,
        number,
        scope,
        tests,
        reason,
    });
}

macro_rules! call {
    ($name:ident) => {
        (stringify!($name), libc::$name)
    };
}

fn arguments(rows: Rows<'_>) {
    for bit in (0..32)
        .map(|bit| 1_u64 << bit)
        .filter(|bit| bit & NEW_NAMESPACES != 0)
    {
        let tests = vec![test(0, Op::MaskedEq(bit), bit)];
        push(
            rows,
            Scope::Everywhere,
            call!(SYS_clone),
            tests,
            "a nested namespace gives full capabilities in it",
        );
    }
    for (request, reason) in [
        (0x5412, "TIOCSTI types into the caller's terminal"),
        (0x541C, "TIOCLINUX pastes into the caller's terminal"),
        (0x5423, "TIOCSETD loads line disciplines"),
    ] {
        push(
            rows,
            Scope::Everywhere,
            call!(SYS_ioctl),
            vec![test(1, Op::Eq, request)],
            reason,
        );
    }
    let plain = [0, 0x40000, 0xffff_ffff]
        .map(|value| test(0, Op::Ne, value))
        .to_vec();
    push(
        rows,
        Scope::Everywhere,
        call!(SYS_personality),
        plain,
        "old personalities switch off address randomisation and checks",
    );
    // S_IFCHR and S_IFBLK under S_IFMT.
    for kind in [0x2000, 0x6000] {
        let node = "device nodes and overlay whiteouts";
        #[cfg(target_arch = "x86_64")]
        push(
            rows,
            Scope::Everywhere,
            call!(SYS_mknod),
            vec![test(1, Op::MaskedEq(0xF000), kind)],
            node,
        );
        push(
            rows,
            Scope::Everywhere,
            call!(SYS_mknodat),
            vec![test(2, Op::MaskedEq(0xF000), kind)],
            node,
        );
    }
    push(
        rows,
        Scope::Everywhere,
        call!(SYS_prctl),
        vec![test(0, Op::Eq, 35)],
        "PR_SET_MM rewrites what others see of a process",
    );
}

fn outsiders(rows: Rows<'_>) {
    let reason = "a process id other than one's own reaches outsiders of the same uid";
    for of in [
        call!(SYS_prlimit64),
        call!(SYS_sched_setaffinity),
        call!(SYS_sched_setscheduler),
        call!(SYS_sched_setparam),
        call!(SYS_sched_setattr),
    ] {
        push(rows, Scope::Shared, of, vec![test(0, Op::Ne, 0)], reason);
    }
    // The first argument says what the second one names; PRIO_PROCESS is 0, IOPRIO_WHO_PROCESS is 1.
    for (of, process) in [(call!(SYS_setpriority), 0), (call!(SYS_ioprio_set), 1)] {
        push(
            rows,
            Scope::Shared,
            of,
            vec![test(0, Op::Ne, process)],
            reason,
        );
        push(rows, Scope::Shared, of, vec![test(1, Op::Ne, 0)], reason);
    }
}

/// Where the host's network is shared, `notify` holds the rest.
const UNIX: u64 = 1;
const INET: u64 = 2;
const INET6: u64 = 10;
const NETLINK: u64 = 16;

fn sockets(rows: Rows<'_>) {
    let socket = call!(SYS_socket);
    let known = [UNIX, INET, INET6, NETLINK]
        .map(|family| test(0, Op::Ne, family))
        .to_vec();
    push(
        rows,
        Scope::Everywhere,
        socket,
        known,
        "only UNIX, INET, INET6 and NETLINK: others (vsock, packet, alg) pass network namespaces or are rarely tested code",
    );
    let of_netlink = vec![test(0, Op::Eq, NETLINK), test(2, Op::Ne, 0)];
    push(
        rows,
        Scope::Everywhere,
        socket,
        of_netlink,
        "of NETLINK only ROUTE, which lists interfaces",
    );
}
