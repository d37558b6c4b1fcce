//! The wall against privilege: no capability, no way to get one, nothing to attach to.
//! It must never leave a set half empty: a failure here ends the launch.

use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySet, CapabilitySets, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_capabilities_secure_bits,
    set_no_new_privs,
};

use super::{Fault, Step};

/// Empties all five capability sets but for `keep` (in the permitted and effective ones), locks the secure bits so that
/// uid 0 means nothing, and sets `no_new_privs`, which is what stops sudo and every set-user-id program.
///
/// # Errors
/// The step that the kernel refused.
pub fn drop_all(keep: CapabilitySet) -> Result<(), Fault> {
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
    if bounded {
        lock_secure_bits()?;
    }
    clear_ambient_capability_set().step("empty the ambient set")?;
    set_no_new_privs(true).step("set no_new_privs")?;
    let sets = CapabilitySets {
        effective: keep,
        permitted: keep,
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, sets).step("empty the capability sets")
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
