//! The random numbers that old .NET made from a seed: DocSpace derives keys with them (`facts.md` §1).
//! Knuth's subtractive generator (The Art of Computer Programming, volume 2, 3.2.2), in 32 bits that wrap.

const MOST: i32 = i32::MAX;
const FIRST: i32 = 161_803_398;
/// How many numbers the generator looks back on, and the distance between the two it subtracts.
const LENGTH: usize = 55;
const LAG: usize = 21;

pub struct Random {
    /// The first is never used.
    state: [i32; LENGTH + 1],
    next: usize,
    behind: usize,
}

impl Random {
    pub fn new(seed: i32) -> Self {
        let mut state = [0; LENGTH + 1];
        let mut last = FIRST.wrapping_sub(seed.checked_abs().unwrap_or(MOST));
        state[LENGTH] = last;
        let mut value = 1;
        for step in 1..LENGTH {
            let place = LAG * step % LENGTH;
            state[place] = value;
            value = positive(last.wrapping_sub(value));
            last = state[place];
        }
        for _ in 0..4 {
            for place in 1..=LENGTH {
                let other = state[1 + (place + 30) % LENGTH];
                state[place] = positive(state[place].wrapping_sub(other));
            }
        }
        Self { state, next: 0, behind: LAG }
    }

    fn sample(&mut self) -> i32 {
        self.next = self.next % LENGTH + 1;
        self.behind = self.behind % LENGTH + 1;
        let mut value = self.state[self.next].wrapping_sub(self.state[self.behind]);
        if value == MOST {
            value -= 1;
        }
        let value = positive(value);
        self.state[self.next] = value;
        value
    }

    /// .NET's `NextBytes`.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| (self.sample() % 256) as u8)
    }
}

fn positive(value: i32) -> i32 {
    if value < 0 { value.wrapping_add(MOST) } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of `facts.md` §1: `NextBytes` for cookies, `Next(255)` for `core_settings`.
    #[test]
    fn the_numbers_are_dotnets() {
        let seed = i32::from_le_bytes(*b"sbnd");
        let key: [u8; 32] = Random::new(seed).bytes();
        assert_eq!(
            hex::encode(key),
            "e3749c2091f034c3429a2d1d207c6e1f8c3c7cb21e696c5181855dae0e2d3781"
        );
        for (seed, expected) in [
            (14, "0aeb8d8b86ca2d76b46f9a6541c0c7c5beac0ebbac485beb1287f75c695a5a23"),
            (7, "61dea80d5dac0af3d7da72ed711ce066cd55dd06be902c796207f2067ab7c44b"),
        ] {
            let mut random = Random::new(seed);
            let key: [u8; 32] = std::array::from_fn(|_| {
                (f64::from(random.sample()) * (1.0 / f64::from(MOST)) * 255.0) as u8
            });
            assert_eq!(hex::encode(key), expected);
        }
    }

    #[test]
    fn every_seed_works() {
        for seed in [i32::MIN, i32::MIN + 1, -1, 0, 1, i32::MAX] {
            let mut random = Random::new(seed);
            assert!((0..1000).all(|_| random.sample() >= 0), "{seed}");
        }
    }
}
