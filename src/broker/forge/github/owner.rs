//! Whose token it is: a workflow's own, an App's, or a person's. What is pushed with the last two starts workflows at once.
//! It must never take a token for a workflow's own because nobody said otherwise, where its own form says so.

use super::identity::Certainty;
use super::{GitHub, Identity};
use crate::names::Secret;

/// Whose token it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// `GITHUB_TOKEN`: GitHub starts nothing by itself for what it pushes.
    Workflow,
    /// An App's installation.
    App,
    /// A person's, classic or fine-grained.
    Person,
}

impl Owner {
    /// As in the option `--publish-with`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Workflow => "GITHUB_TOKEN",
            Self::App => "app",
            Self::Person => "pat",
        }
    }
}

/// The login of every workflow's own account, on github.com and on every GitHub Enterprise Server.
pub(super) const ACTIONS_LOGIN: &str = "github-actions[bot]";
/// How the tokens of people begin (docs.github.com, "About authentication to GitHub").
const PERSONAL: [&str; 4] = ["ghp_", "github_pat_", "gho_", "ghu_"];

/// Whether a token's own form says that it is a person's.
pub(super) fn is_personal(token: &Secret) -> bool {
    PERSONAL
        .iter()
        .any(|begin| token.expose().starts_with(begin))
}

impl GitHub {
    /// Whose token this is. Where nobody says as whom it writes, its form decides between a person's and a workflow's.
    pub async fn owner(&self) -> Owner {
        let me = self.identity().await;
        owner(&me, self.personal)
    }
}

fn owner(me: &Identity, personal: bool) -> Owner {
    if personal {
        return Owner::Person;
    }
    match me.certainty {
        Certainty::Assumed => Owner::Workflow,
        Certainty::Asked if me.login == ACTIONS_LOGIN => Owner::Workflow,
        // A person cannot register a login with brackets.
        Certainty::Asked if me.login.ends_with("[bot]") => Owner::App,
        Certainty::Asked => Owner::Person,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_and_form_of_the_token_tell_its_owner() {
        let asked = |login: &str| Identity {
            login: login.to_owned(),
            id: 1,
            certainty: Certainty::Asked,
        };
        assert_eq!(owner(&asked("github-actions[bot]"), false), Owner::Workflow);
        assert_eq!(owner(&asked("my-app[bot]"), false), Owner::App);
        assert_eq!(owner(&asked("octocat"), false), Owner::Person);
        let assumed = Identity {
            certainty: Certainty::Assumed,
            ..asked("github-actions[bot]")
        };
        assert_eq!(owner(&assumed, false), Owner::Workflow);
        assert_eq!(owner(&assumed, true), Owner::Person);
        assert!(is_personal(&Secret::new("ghp_x".to_owned())));
        assert!(!is_personal(&Secret::new("ghs_x".to_owned())));
    }
}
