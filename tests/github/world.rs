//! What our small GitHub knows: accounts, objects, refs, pulls, comments, statuses, reviews; and what it is told to fail.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tagout::names::Digest;

use super::Answer;

/// The account of `GITHUB_TOKEN`.
pub(crate) const ACTIONS: &str = "github-actions[bot]";
/// A token that may write everything.
pub(crate) const TOKEN: &str = "t0ken";

#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) login: String,
    pub(crate) id: u64,
    pub(crate) kind: &'static str,
}

impl Account {
    pub(crate) fn json(&self) -> Value {
        json!({"login": self.login, "id": self.id, "type": self.kind})
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Token {
    pub(crate) login: String,
    /// What it may write: contents, issues, pull_requests, statuses, checks, deployments.
    pub(crate) writes: Vec<&'static str>,
}

pub(crate) type Tree = BTreeMap<String, (String, String)>;

#[derive(Clone, Debug)]
pub(crate) struct Commit {
    pub(crate) tree: String,
    pub(crate) parents: Vec<String>,
    pub(crate) message: String,
    pub(crate) author: Option<String>,
    pub(crate) committer: Option<String>,
    pub(crate) verified: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Pull {
    pub(crate) number: u64,
    pub(crate) title: String,
    pub(crate) body: String,
    pub(crate) head: String,
    pub(crate) base: String,
    pub(crate) user: String,
    pub(crate) draft: bool,
    pub(crate) open: bool,
    pub(crate) maintainer_can_modify: bool,
    /// The head while the branch exists, and the last one after that.
    pub(crate) last_head: String,
}

#[derive(Clone, Debug)]
pub(crate) struct Comment {
    pub(crate) id: u64,
    pub(crate) issue: u64,
    pub(crate) user: String,
    pub(crate) body: String,
    pub(crate) created_at: String,
    pub(crate) updated_at: String,
}

#[derive(Clone, Debug)]
pub(crate) struct Status {
    pub(crate) sha: String,
    pub(crate) context: String,
    pub(crate) state: String,
    pub(crate) description: Option<String>,
    pub(crate) creator: String,
    pub(crate) created_at: String,
}

#[derive(Clone, Debug)]
pub(crate) struct Issue {
    pub(crate) title: String,
    pub(crate) body: String,
    pub(crate) user: String,
}

/// A review's comment on a line.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) id: u64,
    pub(crate) pull: u64,
    pub(crate) user: String,
    pub(crate) body: String,
    pub(crate) path: String,
    pub(crate) line: u32,
    pub(crate) commit: String,
    pub(crate) at: String,
}

#[derive(Clone, Debug)]
pub(crate) struct Review {
    pub(crate) id: u64,
    pub(crate) pull: u64,
    pub(crate) user: String,
    pub(crate) body: String,
    pub(crate) state: String,
    pub(crate) commit: String,
    pub(crate) at: String,
}

/// What lies at a path beside the API.
#[derive(Clone, Debug)]
pub(crate) enum File {
    Bytes(Vec<u8>),
    Elsewhere(String),
}

/// One failure to come.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) method: &'static str,
    pub(crate) part: String,
    pub(crate) status: u16,
    pub(crate) times: u32,
    /// The request takes effect, and only the answer is lost.
    pub(crate) after_effect: bool,
    pub(crate) headers: Vec<(String, String)>,
}

/// Everything.
pub(crate) struct World {
    pub(crate) accounts: BTreeMap<String, Account>,
    pub(crate) tokens: BTreeMap<String, Token>,
    /// The scopes of classic personal tokens.
    pub(crate) scopes: BTreeMap<String, String>,
    pub(crate) roles: BTreeMap<String, String>,
    pub(crate) blobs: BTreeMap<String, Vec<u8>>,
    pub(crate) trees: BTreeMap<String, Tree>,
    pub(crate) commits: BTreeMap<String, Commit>,
    pub(crate) refs: BTreeMap<String, String>,
    pub(crate) pulls: Vec<Pull>,
    pub(crate) comments: Vec<Comment>,
    pub(crate) reactions: Vec<(u64, String, String)>,
    pub(crate) labels: BTreeMap<u64, Vec<String>>,
    pub(crate) reviewers: BTreeMap<u64, Vec<String>>,
    pub(crate) statuses: Vec<Status>,
    pub(crate) reviews: Vec<Review>,
    /// Issues that were opened as such; comments may stand on others too.
    pub(crate) issues: BTreeMap<u64, Issue>,
    pub(crate) lines: Vec<Line>,
    /// Texts as they are shown, by the number of the comment or issue.
    pub(crate) rendered: BTreeMap<u64, String>,
    /// What lies beside the API: a path, and what is answered.
    pub(crate) files: BTreeMap<String, File>,
    /// Which of these were asked for, and whether with a token.
    pub(crate) visits: Vec<(String, bool)>,
    /// Jobs of the one workflow run: number, name, conclusion, where the log lies.
    pub(crate) jobs: Vec<(u64, &'static str, &'static str, String)>,
    /// The repositories of the organisation: name, policy, branches with an open proposal.
    pub(crate) fleet: Vec<(String, Option<String>, Vec<String>)>,
    /// Pull requests whose head is in a fork.
    pub(crate) from_forks: Vec<u64>,
    /// Ref, login of the pusher, head afterwards, time.
    pub(crate) pushes: Vec<(String, String, String, String)>,
    /// Pull request, event, time.
    pub(crate) events: Vec<(u64, String, String)>,
    /// Contexts that a ruleset of the default branch requires.
    pub(crate) required_checks: Vec<String>,
    /// The App that the required checks are bound to.
    pub(crate) check_app: Option<u64>,
    /// Who may pass the ruleset by, kind and number; none where the token may not see it.
    pub(crate) bypass: Option<Vec<(&'static str, u64)>>,
    /// Environments, and whether every branch may deploy to them.
    pub(crate) environments: Vec<(&'static str, bool)>,
    /// The merge queue: position, commit, pull request.
    pub(crate) queue: Vec<(u64, String, u64)>,
    /// Whether the default branch's review rule is strict; none where there is no such rule.
    pub(crate) review_rule: Option<bool>,
    pub(crate) auto_merge: bool,
    pub(crate) workflow_permissions: (&'static str, bool),
    pub(crate) drafts_supported: bool,
    pub(crate) graphql_supported: bool,
    pub(crate) failures: Vec<Failure>,
    pub(crate) journal: Vec<(String, String, u16)>,
    /// The request, counted from one, that takes effect and is never answered; none is answered after it.
    pub(crate) silent_from: Option<usize>,
    pub(crate) refs_made: Vec<String>,
    next: u64,
    clock: u64,
}

impl World {
    pub(crate) fn new() -> Self {
        let mut world = Self {
            accounts: BTreeMap::new(),
            tokens: BTreeMap::new(),
            scopes: BTreeMap::new(),
            roles: BTreeMap::new(),
            blobs: BTreeMap::new(),
            trees: BTreeMap::new(),
            commits: BTreeMap::new(),
            refs: BTreeMap::new(),
            pulls: Vec::new(),
            comments: Vec::new(),
            reactions: Vec::new(),
            labels: BTreeMap::new(),
            reviewers: BTreeMap::new(),
            statuses: Vec::new(),
            reviews: Vec::new(),
            issues: BTreeMap::new(),
            lines: Vec::new(),
            rendered: BTreeMap::new(),
            files: BTreeMap::new(),
            visits: Vec::new(),
            jobs: Vec::new(),
            fleet: Vec::new(),
            from_forks: Vec::new(),
            pushes: Vec::new(),
            events: Vec::new(),
            required_checks: Vec::new(),
            check_app: None,
            bypass: None,
            environments: Vec::new(),
            queue: Vec::new(),
            review_rule: None,
            auto_merge: false,
            workflow_permissions: ("read", false),
            drafts_supported: true,
            graphql_supported: true,
            failures: Vec::new(),
            journal: Vec::new(),
            silent_from: None,
            refs_made: Vec::new(),
            next: 100,
            clock: 0,
        };
        world.account(ACTIONS, 41_898_282, "Bot");
        world.account("web-flow", 19_864_447, "User");
        world.account("o", 2, "Organization");
        let writes = vec!["contents", "issues", "pull_requests", "statuses"];
        world.tokens.insert(
            TOKEN.to_owned(),
            Token {
                login: ACTIONS.to_owned(),
                writes,
            },
        );
        world
    }

    pub(crate) fn account(&mut self, login: &str, id: u64, kind: &'static str) {
        let login = login.to_owned();
        let account = Account {
            login: login.clone(),
            id,
            kind,
        };
        self.accounts.insert(login, account);
    }

    /// A human with a role.
    pub(crate) fn human(&mut self, login: &str, id: u64, role: &str) {
        self.account(login, id, "User");
        self.roles.insert(login.to_owned(), role.to_owned());
    }

    pub(crate) fn user(&self, login: &str) -> Value {
        self.accounts.get(login).map_or(Value::Null, Account::json)
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// The server's clock: a second later each time that it is read.
    pub(crate) fn now(&mut self) -> String {
        self.clock += 1;
        let (minutes, seconds) = (self.clock / 60, self.clock % 60);
        format!(
            "2026-01-01T{:02}:{:02}:{seconds:02}Z",
            minutes / 60,
            minutes % 60
        )
    }

    pub(crate) fn blob(&mut self, bytes: &[u8]) -> String {
        let id = oid(&[b"blob", bytes]);
        self.blobs.insert(id.clone(), bytes.to_vec());
        id
    }

    pub(crate) fn tree(&mut self, tree: Tree) -> String {
        let id = oid(&[b"tree", format!("{tree:?}").as_bytes()]);
        self.trees.insert(id.clone(), tree);
        id
    }

    pub(crate) fn commit(&mut self, commit: Commit) -> String {
        let salt = self.number();
        let id = oid(&[b"commit", format!("{commit:?}{salt}").as_bytes()]);
        self.commits.insert(id.clone(), commit);
        id
    }

    /// A commit with these files, by a human, on top of the branch if there is one. Gives its id.
    pub(crate) fn push(&mut self, branch: &str, login: &str, files: &[(&str, &str)]) -> String {
        let parent = self.refs.get(branch).cloned();
        let mut tree = parent.as_ref().map_or_else(Tree::new, |parent| {
            self.trees[&self.commits[parent].tree].clone()
        });
        for (path, text) in files {
            let blob = self.blob(text.as_bytes());
            tree.insert((*path).to_owned(), ("100644".to_owned(), blob));
        }
        let tree = self.tree(tree);
        let commit = self.commit(Commit {
            tree,
            parents: parent.into_iter().collect(),
            message: "A change".to_owned(),
            author: Some(login.to_owned()),
            committer: Some(login.to_owned()),
            verified: false,
        });
        self.set_ref(branch, login, &commit);
        commit
    }

    pub(crate) fn set_ref(&mut self, branch: &str, login: &str, commit: &str) {
        let at = self.now();
        self.refs.insert(branch.to_owned(), commit.to_owned());
        self.pushes
            .push((branch.to_owned(), login.to_owned(), commit.to_owned(), at));
        for pull in &mut self.pulls {
            if pull.head == branch && pull.open {
                pull.last_head = commit.to_owned();
            }
        }
    }

    /// The files of a branch: path to mode and text.
    pub(crate) fn files(&self, branch: &str) -> BTreeMap<String, (String, String)> {
        let commit = &self.commits[&self.refs[branch]];
        self.trees[&commit.tree]
            .iter()
            .map(|(path, (mode, blob))| {
                let text = String::from_utf8_lossy(&self.blobs[blob]).into_owned();
                (path.clone(), (mode.clone(), text))
            })
            .collect()
    }

    /// A comment by somebody; gives its number.
    pub(crate) fn comment(&mut self, issue: u64, login: &str, body: &str) -> u64 {
        let id = self.number();
        let at = self.now();
        self.comments.push(Comment {
            id,
            issue,
            user: login.to_owned(),
            body: body.to_owned(),
            created_at: at.clone(),
            updated_at: at,
        });
        id
    }

    /// A review of a pull request's head as it is now. GitHub lets nobody approve their own.
    pub(crate) fn review(
        &mut self,
        pull: u64,
        login: &str,
        state: &str,
    ) -> Result<(), &'static str> {
        self.review_saying(pull, login, state, "")
    }

    /// The same, with words.
    pub(crate) fn review_saying(
        &mut self,
        pull: u64,
        login: &str,
        state: &str,
        body: &str,
    ) -> Result<(), &'static str> {
        let found = self.pull(pull).expect("a pull request").clone();
        if found.user == login && state != "COMMENTED" {
            return Err("Can not approve or ask for changes on your own pull request");
        }
        let id = self.number();
        let at = self.now();
        let commit = found.last_head;
        self.reviews.push(Review {
            id,
            pull,
            user: login.to_owned(),
            state: state.to_owned(),
            commit,
            at,
            body: body.to_owned(),
        });
        Ok(())
    }

    /// An issue by somebody.
    pub(crate) fn issue(&mut self, number: u64, login: &str, title: &str, body: &str) {
        let issue = Issue {
            title: title.to_owned(),
            body: body.to_owned(),
            user: login.to_owned(),
        };
        self.issues.insert(number, issue);
    }

    /// A comment on a line of a pull request's head as it is now; gives its number.
    pub(crate) fn line(&mut self, pull: u64, login: &str, place: (&str, u32), body: &str) -> u64 {
        let (id, at) = (self.number(), self.now());
        let commit = self.pull(pull).expect("a pull request").last_head.clone();
        self.lines.push(Line {
            id,
            pull,
            user: login.to_owned(),
            body: body.to_owned(),
            path: place.0.to_owned(),
            line: place.1,
            commit,
            at,
        });
        id
    }

    /// A pull request that somebody opened; gives its number.
    pub(crate) fn opened(
        &mut self,
        login: &str,
        head: &str,
        base: &str,
        words: (&str, &str),
    ) -> u64 {
        let number = self.number();
        let last_head = self.refs[head].clone();
        self.pulls.push(Pull {
            number,
            title: words.0.to_owned(),
            body: words.1.to_owned(),
            head: head.to_owned(),
            base: base.to_owned(),
            user: login.to_owned(),
            draft: false,
            open: true,
            maintainer_can_modify: false,
            last_head,
        });
        number
    }

    pub(crate) fn pull(&self, number: u64) -> Option<&Pull> {
        self.pulls.iter().find(|pull| pull.number == number)
    }

    pub(crate) fn resolve(&self, name: &str) -> Option<String> {
        self.refs
            .get(name)
            .or_else(|| self.refs.get(name.trim_start_matches("heads/")))
            .cloned()
            .or_else(|| self.commits.contains_key(name).then(|| name.to_owned()))
    }

    /// Whether one commit is the other or an ancestor of it.
    pub(crate) fn is_ancestor(&self, ancestor: &str, of: &str) -> bool {
        let mut waiting = vec![of.to_owned()];
        while let Some(commit) = waiting.pop() {
            if commit == ancestor {
                return true;
            }
            waiting.extend(
                self.commits
                    .get(&commit)
                    .into_iter()
                    .flat_map(|commit| commit.parents.clone()),
            );
        }
        false
    }

    /// The commits of a pull request, oldest first.
    pub(crate) fn commits_of(&self, pull: &Pull) -> Vec<String> {
        let base = self.refs.get(&pull.base).cloned().unwrap_or_default();
        let mut found = Vec::new();
        let mut waiting = vec![pull.last_head.clone()];
        while let Some(commit) = waiting.pop() {
            if self.is_ancestor(&commit, &base) || found.contains(&commit) {
                continue;
            }
            waiting.extend(self.commits[&commit].parents.clone());
            found.push(commit);
        }
        found.reverse();
        found
    }

    /// What lies at a path beside the API, and the note that it was asked for.
    pub(super) fn file(&mut self, path: &str, with_token: bool) -> Option<Answer> {
        let file = self.files.get(path)?.clone();
        self.visits.push((path.to_owned(), with_token));
        let mut answer = Answer::new(200, "", Value::Null);
        match file {
            File::Bytes(bytes) => answer.raw = Some(bytes),
            File::Elsewhere(place) => {
                answer.status = 302;
                answer.headers.push(("location".to_owned(), place));
            }
        }
        Some(answer)
    }

    /// Tells the next requests of this kind to fail.
    pub(crate) fn fail(&mut self, method: &'static str, part: &str, status: u16, times: u32) {
        self.failures.push(Failure {
            method,
            part: part.to_owned(),
            status,
            times,
            after_effect: false,
            headers: Vec::new(),
        });
    }

    pub(super) fn failure(&mut self, method: &str, path: &str) -> Option<Failure> {
        let failure = self.failures.iter_mut().find(|failure| {
            failure.times > 0 && failure.method == method && path.contains(&failure.part)
        })?;
        failure.times -= 1;
        Some(failure.clone())
    }
}

pub(crate) fn oid(parts: &[&[u8]]) -> String {
    Digest::of(&parts.concat()).as_str()[..40].to_owned()
}
