//! The fields of a request that goes up. Nearly all of them are the caller's, and they go up once:
//! they are borrowed, and there is no map of them.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue};

/// Fields in their order. A name may be there more than once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields<'a>(Vec<(&'a HeaderName, Cow<'a, HeaderValue>)>);

impl<'a> Fields<'a> {
    /// No fields, with room for so many.
    pub fn with_capacity(number: usize) -> Self {
        Self(Vec::with_capacity(number))
    }

    /// Adds a field behind those that are there.
    pub fn append(&mut self, name: &'a HeaderName, value: &'a HeaderValue) {
        self.0.push((name, Cow::Borrowed(value)));
    }

    /// Makes this the only field of its name.
    pub fn insert(&mut self, name: &'a HeaderName, value: Cow<'a, HeaderValue>) {
        // To look is cheaper than to go through all of them for removal, and mostly there is none.
        if self.get(name).is_some() {
            self.remove(name);
        }
        self.0.push((name, value));
    }

    /// Gives the field of this name another value, where there is one, and leaves no second one.
    pub fn replace(&mut self, name: &HeaderName, value: &'a HeaderValue) {
        let mut new = Some(Cow::Borrowed(value));
        self.0.retain_mut(|(known, old)| {
            if *known != name {
                return true;
            }
            new.take().map(|new| *old = new).is_some()
        });
    }

    /// Takes away every field of this name.
    pub fn remove(&mut self, name: &HeaderName) {
        self.0.retain(|(known, _)| *known != name);
    }

    /// The first field of this name.
    pub fn get(&self, name: &HeaderName) -> Option<&HeaderValue> {
        self.get_all(name).next()
    }

    /// The fields of this name.
    pub fn get_all(&self, name: &HeaderName) -> impl Iterator<Item = &HeaderValue> {
        let fields = self.0.iter().filter(move |(known, _)| *known == name);
        fields.map(|(_, value)| &**value)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.0.iter().map(|(name, value)| (*name, &**value))
    }
}

impl From<&Fields<'_>> for HeaderMap {
    fn from(fields: &Fields<'_>) -> Self {
        // Its user adds an id and a token.
        let mut map = Self::with_capacity(fields.0.len() + 2);
        for (name, value) in fields.iter() {
            map.append(name, value.clone());
        }
        map
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_is_inserted_is_the_only_one_of_its_name() {
        let names = ["prefer", "etag"].map(HeaderName::from_static);
        let values = ["a", "b", "c"].map(HeaderValue::from_static);
        let mut fields = Fields::default();
        fields.append(&names[0], &values[0]);
        fields.append(&names[1], &values[1]);
        fields.append(&names[0], &values[1]);
        assert_eq!(fields.get(&names[0]), Some(&values[0]));
        assert_eq!(fields.get_all(&names[0]).count(), 2);
        fields.insert(&names[0], Cow::Borrowed(&values[2]));
        let all: Vec<_> = fields.iter().map(|(_, value)| value).collect();
        assert_eq!(all, ["b", "c"]);
        let map = HeaderMap::from(&fields);
        assert_eq!((map.len(), &map["prefer"]), (2, &values[2]));
        fields.remove(&names[1]);
        assert_eq!(fields.get(&names[1]), None);
    }

    #[test]
    fn a_field_is_replaced_only_where_one_of_its_name_is_there() {
        let names = ["prefer", "etag"].map(HeaderName::from_static);
        let values = ["a", "b", "c"].map(HeaderValue::from_static);
        let mut fields = Fields::default();
        fields.append(&names[0], &values[0]);
        fields.replace(&names[1], &values[2]);
        assert_eq!(fields.iter().count(), 1);
        fields.append(&names[1], &values[1]);
        fields.append(&names[0], &values[1]);
        fields.replace(&names[0], &values[2]);
        let all: Vec<_> = fields.iter().map(|(_, value)| value).collect();
        assert_eq!(all, ["c", "b"]);
    }
}
