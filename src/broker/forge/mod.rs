//! Where proposals are opened: GitHub, or a local repository.
//! It must never mark ready, approve or merge.
