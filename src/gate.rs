//! Who may start a run, judged on facts that GitHub's API gave, never on the payload's own claims.
//! It must never touch anything else of the repository before permission is established.
