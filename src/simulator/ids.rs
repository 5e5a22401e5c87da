//! All random values, from one seed, and the ids that are made of them.

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, RngExt, SeedableRng};

/// A source of ids.
#[derive(Debug)]
pub(super) struct Ids(StdRng);

impl Ids {
    pub(super) fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// A random UUID.
    pub(super) fn uuid(&mut self) -> String {
        let mut bytes = [0; 16];
        self.0.fill_bytes(&mut bytes);
        let mut text = hex::encode(bytes);
        for place in [20, 16, 12, 8] {
            text.insert(place, '-');
        }
        // Version 4, variant 1.
        text.replace_range(14..15, "4");
        text.replace_range(19..20, "a");
        text
    }

    /// Returns an id in the form of the gateway's request ids.
    pub(super) fn request_id(&mut self) -> String {
        let mut bytes = [0; 16];
        self.0.fill_bytes(&mut bytes);
        hex::encode(bytes)
    }

    /// Returns a text that looks like a secret: this number of bytes, in hexadecimal.
    pub(super) fn secret(&mut self, bytes: usize) -> String {
        let mut drawn = vec![0; bytes];
        self.0.fill_bytes(&mut drawn);
        hex::encode(drawn)
    }

    /// Returns true with this probability.
    pub(super) fn happens(&mut self, probability: f64) -> bool {
        self.0.random_bool(probability.clamp(0.0, 1.0))
    }

    /// Puts the elements into a random order.
    pub(super) fn shuffle<T>(&mut self, elements: &mut [T]) {
        elements.shuffle(&mut self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_look_like_uuids_and_come_from_the_seed_alone() {
        let id = Ids::new(7).uuid();
        assert_eq!(id.len(), 36);
        assert_eq!(id.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
        assert_eq!(id, Ids::new(7).uuid());
        assert_ne!(id, Ids::new(8).uuid());
    }
}
