//! Who is asking: users, organizations, tokens, sessions, and what a caller may do.

pub mod db;
mod viewer;

use rand::RngExt as _;
use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::{digest::Digest, name};
pub use viewer::Viewer;

/// What can go wrong with callers.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A token that we do not know, that ended, or that was revoked.
    #[error("Invalid credentials in Authorization header")]
    InvalidToken,
    /// Nobody is signed in where somebody must be.
    #[error("this needs a token: sign in, or send `Authorization: Bearer TOKEN`")]
    SignInRequired,
    /// The caller may not do this.
    #[error("{0}")]
    Forbidden(String),
    /// The form's secret is missing or old.
    #[error("this form is out of date, go back, reload the page and send it again")]
    StaleForm,
    /// A user or organization of that name exists.
    #[error("`{0}` already exists")]
    NameTaken(String),
    /// No such user.
    #[error("user `{0}` does not exist")]
    UserNotFound(String),
    /// A given token value that is too weak.
    #[error("a token has 8 to 512 printable characters without spaces")]
    BadTokenValue,
    /// A token value that is in use.
    #[error("this token value is already in use")]
    TokenTaken,
    /// A name is not acceptable.
    #[error(transparent)]
    Name(#[from] name::Error),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// What a token may do; each includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Read what its user may read.
    Read,
    /// Push and delete too.
    Write,
    /// Everything its user may do, administration included.
    Admin,
}

/// What a user may do in an organization; each includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Read its private models.
    Read,
    /// Push to its models.
    Write,
    /// Settings and members.
    Admin,
}

/// A person or a program with an account.
#[derive(Debug, Clone)]
pub struct User {
    /// Row id.
    pub id: i64,
    /// Name, which is also their namespace.
    pub name: String,
    /// Name for people.
    pub full_name: String,
    /// Administrator of the installation.
    pub is_admin: bool,
}

/// An organization that a user belongs to.
#[derive(Debug, Clone)]
pub struct Membership {
    /// Row id of the organization.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// The user's role in it.
    pub role: Role,
}

/// Who is asking.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The user; `None` is anonymous.
    pub user: Option<User>,
    /// What the token allows.
    pub scope: Scope,
    /// Where the user is a member.
    pub organizations: Vec<Membership>,
    /// The token's name.
    pub token_name: String,
    /// The token's row id; `None` is anonymous.
    pub token_id: Option<i64>,
    /// The form secret, when signed in on the pages.
    pub csrf: Option<String>,
}

impl Caller {
    /// Somebody unknown.
    pub fn anonymous() -> Self {
        Self {
            user: None,
            scope: Scope::Read,
            organizations: Vec::new(),
            token_name: String::new(),
            token_id: None,
            csrf: None,
        }
    }

    /// What the caller may read.
    pub fn viewer(&self) -> Viewer {
        let Some(user) = &self.user else { return Viewer::anonymous() };
        let own = std::iter::once(user.name.to_lowercase());
        let namespaces = own.chain(self.organizations.iter().map(|o| o.name.to_lowercase())).collect();
        Viewer { everything: self.is_admin(), namespaces }
    }

    /// Whether the caller administers the installation.
    pub fn is_admin(&self) -> bool {
        self.scope == Scope::Admin && self.user.as_ref().is_some_and(|user| user.is_admin)
    }

    /// Whether the caller may push to a namespace.
    pub fn may_write(&self, namespace: &str) -> bool {
        self.scope >= Scope::Write && (self.is_admin() || self.has_role(namespace, Role::Write))
    }

    /// Whether the caller may change a namespace's settings and delete its models.
    pub fn may_administer(&self, namespace: &str) -> bool {
        self.scope >= Scope::Write && (self.is_admin() || self.has_role(namespace, Role::Admin))
    }

    /// The caller's name, for logs and commits.
    pub fn name(&self) -> &str {
        self.user.as_ref().map_or("anonymous", |user| &user.name)
    }

    /// The user, or the request to sign in.
    pub fn require_user(&self) -> Result<&User, Error> {
        self.user.as_ref().ok_or(Error::SignInRequired)
    }

    /// The user, when they may push to the namespace.
    pub fn require_write(&self, namespace: &str) -> Result<&User, Error> {
        let user = self.require_user()?;
        if self.may_write(namespace) {
            return Ok(user);
        }
        let why = if self.scope < Scope::Write {
            "this token may only read: create one with scope `write`".to_owned()
        } else {
            format!("`{}` may not write to the namespace `{namespace}`", user.name)
        };
        Err(Error::Forbidden(why))
    }

    /// The user, when they administer the namespace.
    pub fn require_administer(&self, namespace: &str) -> Result<&User, Error> {
        let user = self.require_user()?;
        if self.may_administer(namespace) {
            return Ok(user);
        }
        Err(Error::Forbidden(format!("`{}` does not administer the namespace `{namespace}`", user.name)))
    }

    /// The user, when they administer the installation.
    pub fn require_admin(&self) -> Result<&User, Error> {
        let user = self.require_user()?;
        if self.is_admin() {
            return Ok(user);
        }
        Err(Error::Forbidden("this needs a token with scope `admin` of an administrator".to_owned()))
    }

    /// The user, when their token may make one of this scope or end it: a token that only reads changes nothing.
    pub fn require_token_scope(&self, scope: Scope) -> Result<&User, Error> {
        let user = self.require_user()?;
        if self.scope < Scope::Write {
            let why = "this token may only read: tokens are made and revoked with one of scope `write` or more";
            return Err(Error::Forbidden(why.to_owned()));
        }
        if scope > self.scope {
            let why = "a token cannot make or revoke one that may do more than itself";
            return Err(Error::Forbidden(why.to_owned()));
        }
        Ok(user)
    }

    /// Checks the secret of a form; requests with a token in their header need none.
    pub fn check_form(&self, given: &str) -> Result<(), Error> {
        use subtle::ConstantTimeEq as _;
        match &self.csrf {
            None => Ok(()),
            Some(csrf) if csrf.as_bytes().ct_eq(given.as_bytes()).into() => Ok(()),
            Some(_) => Err(Error::StaleForm),
        }
    }

    fn has_role(&self, namespace: &str, role: Role) -> bool {
        let own = self.user.as_ref().is_some_and(|user| user.name.eq_ignore_ascii_case(namespace));
        let of = |o: &Membership| o.name.eq_ignore_ascii_case(namespace) && o.role >= role;
        own || self.organizations.iter().any(of)
    }
}

/// A token in force, without its secret.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Token {
    /// Row id.
    pub id: i64,
    /// What its user calls it.
    pub name: String,
    /// What it may do.
    pub scope: Scope,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it was used last.
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_used_at: Option<OffsetDateTime>,
}

/// Ends a token of the caller: the one in use, or one that may do no more than it; returns whether there was one.
pub async fn revoke_token(db: &mut PgConnection, caller: &Caller, token_id: i64) -> Result<bool, Error> {
    let user = caller.require_user()?;
    if caller.token_id != Some(token_id) {
        let Some(token) = db::list_tokens(db, user.id).await?.into_iter().find(|token| token.id == token_id) else {
            return Ok(false);
        };
        caller.require_token_scope(token.scope)?;
    }
    db::revoke_token(db, user.id, token_id).await
}

/// Returns a new secret: a prefix that scanners recognize, and 238 random bits.
pub fn generate_secret() -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut rng = rand::rng();
    let letter = |_| char::from(LETTERS[rng.random_range(0..LETTERS.len())]);
    format!("hb_{}", (0..40).map(letter).collect::<String>())
}

/// Returns what the database keeps of a secret.
pub fn secret_digest(secret: &str) -> Vec<u8> {
    Digest::of(secret.as_bytes()).as_bytes().to_vec()
}

/// Checks a token value that somebody brings along.
pub fn check_given_secret(secret: &str) -> Result<(), Error> {
    let fine = (8..=512).contains(&secret.len()) && secret.chars().all(|c| c.is_ascii_graphic());
    if fine { Ok(()) } else { Err(Error::BadTokenValue) }
}
