//! The policy lines that findings name.

pub(super) const ON_PROTECTED: &str =
    "changes.on-protected: request-changes, or a shorter changes.protect";
pub(super) const FILES: &str = "changes.limits.files";
pub(super) const BYTES: &str = "changes.limits.bytes";
pub(super) const FILE_BYTES: &str = "changes.limits.file-bytes";
pub(super) const BINARY: &str = "changes.binary: allow";
pub(super) const DEPENDENCIES: &str = "changes.dependencies: review";
