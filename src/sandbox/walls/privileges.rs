//! The wall against privilege: no capability, no way to get one, nothing to attach to.
//! It must never leave a set half empty: a failure here ends the launch.

use rustix::process::{DumpableBehavior, Gid, Uid, set_dumpable_behavior};
use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySet, CapabilitySets, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_capabilities_secure_bits,
    set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use super::namespaces::Ids;
use super::{Fault, Step};

/// Empties all five capability sets but for `keep` (in the permitted and effective ones), locks the secure bits so that
/// uid 0 means nothing, and sets `no_new_privs`, which is what stops sudo and every set-user-id program.
///
/// # Errors
/// The step that the kernel refused.
pub fn drop_all(keep: CapabilitySet) -> Result<(), Fault> {
    bound()?;
    clear_ambient_capability_set().step("empty the ambient set")?;
    set_no_new_privs(true).step("set no_new_privs")?;
    let sets = CapabilitySets {
        effective: keep,
        permitted: keep,
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, sets).step("empty the capability sets")
}

/// Makes the calling process, which is root's, one of a plain user's for good: no supplementary group, each of the ids another
/// one, and no privilege left that could take them back.
///
/// # Errors
/// The step that the kernel refused; EINVAL where this uid is not known in the user namespace.
pub fn become_user(ids: Ids) -> Result<(), Fault> {
    set_thread_groups(&[]).step("give up the caller's groups")?;
    // Before the uid: the right to do it goes with root's. With its bits locked the kernel empties no set by itself.
    bound()?;
    let (user, group) = (Uid::from_raw(ids.user), Gid::from_raw(ids.group));
    set_thread_res_gid(group, group, group).step("take the leased gid")?;
    set_thread_res_uid(user, user, user).step("take the leased uid")?;
    drop_all(CapabilitySet::empty())?;
    // A change of uid leaves /proc/self to root; nothing of the run lives yet that could look in.
    set_dumpable_behavior(DumpableBehavior::Dumpable).step("keep /proc/self")
}

/// Empties the bounding set and locks the secure bits.
fn bound() -> Result<(), Fault> {
    let mut bounded = true;
    for capability in CapabilitySet::all().iter() {
        // EINVAL: a capability newer than this kernel. EPERM: no CAP_SETPCAP, which only a plain process at level C lacks;
        // without `no_new_privs` undone it can never use the bounding set.
        match remove_capability_from_bounding_set(capability) {
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(rustix::io::Errno::PERM) => {
                bounded = false;
                break;
            }
            Err(error) => return Err(Fault::new("empty the bounding set", error)),
        }
    }
    if bounded { lock_secure_bits() } else { Ok(()) }
}

fn lock_secure_bits() -> Result<(), Fault> {
    let bits = CapabilitiesSecureBits::NO_ROOT
        | CapabilitiesSecureBits::NO_ROOT_LOCKED
        | CapabilitiesSecureBits::NO_SETUID_FIXUP
        | CapabilitiesSecureBits::NO_SETUID_FIXUP_LOCKED
        | CapabilitiesSecureBits::KEEP_CAPS_LOCKED
        | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE
        | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE_LOCKED;
    set_capabilities_secure_bits(bits).step("lock the secure bits")
}

/// Forbids other processes of the same uid to trace this one or to read its memory and environment.
///
/// # Errors
/// What the kernel says.
pub fn hide_from_tracers() -> Result<(), Fault> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).step("forbid tracing")
}
