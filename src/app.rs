//! The one state that handlers, jobs and commands receive.

use std::sync::Arc;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use sqlx::PgPool;

use crate::{
    config::ServeOptions,
    lineage::{relatives::PrintCache, taps::Taps},
    smoke::statistics::Statistics,
    storage::BlobStore,
    tally::Tally,
    telemetry::Metrics,
};

/// Everything a request or a job may need; cheap to clone.
#[derive(Clone)]
pub struct App {
    /// The database.
    pub db: PgPool,
    /// The blobs.
    pub store: BlobStore,
    /// The key that signs links and tokens of this installation.
    pub secret: ServerSecret,
    /// What we count.
    pub metrics: Metrics,
    /// What lists and totals counted since the data changed last.
    pub tally: Tally,
    /// Fingerprints that were read lately.
    pub prints: PrintCache,
    /// Prints of weight files that wait for their commit.
    pub taps: Taps,
    /// Sums of weights that are being uploaded.
    pub statistics: Statistics,
    /// How we serve; defaults where nothing is served.
    pub options: Arc<ServeOptions>,
    /// Command that runs the confined child of smoke tests: this very binary.
    pub smoke_program: Arc<std::path::PathBuf>,
}

/// A key that all replicas share.
#[derive(Clone)]
pub struct ServerSecret(Arc<[u8; 32]>);

impl ServerSecret {
    /// Wraps the key.
    pub fn new(key: [u8; 32]) -> Self {
        Self(Arc::new(key))
    }

    /// Returns the HMAC-SHA-256 of a message, in hexadecimal.
    pub fn sign(&self, message: &str) -> String {
        hex::encode(self.mac(message).finalize().into_bytes())
    }

    /// Tells whether a signature in hexadecimal is that of the message, in constant time.
    pub fn verify(&self, message: &str, signature: &str) -> bool {
        hex::decode(signature).is_ok_and(|bytes| self.mac(message).verify_slice(&bytes).is_ok())
    }

    fn mac(&self, message: &str) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&*self.0).expect("HMAC takes keys of any length");
        mac.update(message.as_bytes());
        mac
    }
}
