//! Memory that forgets: a map whose entries expire and whose size has a bound.

use std::borrow::Borrow;
use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

use jose::UnixSeconds;

/// A map whose entries vanish at a given second and which never holds more than `capacity` of them.
///
/// An entry is gone when `now >= expires_at`.
pub(crate) struct Expiring<K, V> {
    entries: HashMap<K, (UnixSeconds, V)>,
    order: BTreeSet<(UnixSeconds, K)>,
    capacity: usize,
}

/// There is no room, and nothing in the map may be forgotten yet.
#[derive(Debug)]
pub(crate) struct Full;

impl<K: Clone + Eq + Hash + Ord, V> Expiring<K, V> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { entries: HashMap::new(), order: BTreeSet::new(), capacity }
    }

    /// Inserts, replacing an entry of the same key. For memory that guards against replay: nothing is forgotten early.
    pub(crate) fn insert(&mut self, now: UnixSeconds, key: K, expires_at: UnixSeconds, value: V) -> Result<(), Full> {
        self.purge(now);
        if self.entries.len() >= self.capacity && !self.entries.contains_key(&key) {
            return Err(Full);
        }
        self.put(key, expires_at, value);
        Ok(())
    }

    /// Inserts, dropping the entry nearest to its end when there is no room. For memory whose loss costs a round trip.
    pub(crate) fn insert_evicting(&mut self, now: UnixSeconds, key: K, expires_at: UnixSeconds, value: V) {
        self.purge(now);
        if self.entries.len() >= self.capacity
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.entries.remove(&oldest);
        }
        self.put(key, expires_at, value);
    }

    pub(crate) fn get<Q>(&self, now: UnixSeconds, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.entries.get(key).filter(|(expires_at, _)| now < *expires_at).map(|(_, value)| value)
    }

    pub(crate) fn get_mut<Q>(&mut self, now: UnixSeconds, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.entries.get_mut(key).filter(|(expires_at, _)| now < *expires_at).map(|(_, value)| value)
    }

    pub(crate) fn remove<Q>(&mut self, now: UnixSeconds, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let (key, (expires_at, value)) = self.entries.remove_entry(key)?;
        self.order.remove(&(expires_at, key));
        (now < expires_at).then_some(value)
    }

    /// The live entries, those that end last first.
    pub(crate) fn newest_first(&self, now: UnixSeconds) -> impl Iterator<Item = (&K, &V)> {
        self.order
            .iter()
            .rev()
            .take_while(move |(expires_at, _)| now < *expires_at)
            .filter_map(|(_, key)| self.entries.get(key).map(|(_, value)| (key, value)))
    }

    fn put(&mut self, key: K, expires_at: UnixSeconds, value: V) {
        if let Some((old, _)) = self.entries.insert(key.clone(), (expires_at, value)) {
            self.order.remove(&(old, key.clone()));
        }
        self.order.insert((expires_at, key));
    }

    fn purge(&mut self, now: UnixSeconds) {
        while let Some((expires_at, _)) = self.order.first()
            && *expires_at <= now
            && let Some((_, key)) = self.order.pop_first()
        {
            self.entries.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgets_at_the_second_it_was_told() {
        let mut map = Expiring::new(4);
        map.insert(0, "a".to_owned(), 10, 1).unwrap();
        assert_eq!(map.get(9, "a"), Some(&1));
        assert_eq!(map.get(10, "a"), None);
        assert_eq!(map.remove(10, "a"), None);
    }

    #[test]
    fn refuses_rather_than_forget_what_is_still_live() {
        let mut map = Expiring::new(1);
        map.insert(0, "a".to_owned(), 10, 1).unwrap();
        assert!(map.insert(5, "b".to_owned(), 10, 2).is_err());
        map.insert(10, "b".to_owned(), 20, 2).unwrap();
        assert_eq!(map.get(10, "a"), None);
    }

    #[test]
    fn evicts_the_entry_nearest_to_its_end() {
        let mut map = Expiring::new(2);
        for (key, ends) in [("a", 10), ("b", 20), ("c", 15)] {
            map.insert_evicting(0, key.to_owned(), ends, ());
        }
        assert_eq!(map.newest_first(0).map(|(key, ())| key.as_str()).collect::<Vec<_>>(), ["b", "c"]);
    }
}
