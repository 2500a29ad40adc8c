//! SHA-256 of content. The only user of sha2.

use sha2::{Digest as _, Sha256};

/// The SHA-256 of some content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Hashes content in memory.
    pub fn of(content: &[u8]) -> Digest {
        Digest(Sha256::digest(content).into())
    }
}

impl<P: AsRef<[u8]>> FromIterator<P> for Digest {
    fn from_iter<I: IntoIterator<Item = P>>(pieces: I) -> Digest {
        let hasher = pieces.into_iter().fold(Sha256::new(), |hasher, piece| hasher.chain_update(piece));
        Digest(hasher.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of FIPS 180-4 for "abc".
    #[test]
    fn digest_is_sha_256_however_content_is_split() {
        let hex: String = Digest::of(b"abc").0.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(Digest::from_iter(["a", "", "bc"]), Digest::of(b"abc"));
    }
}
