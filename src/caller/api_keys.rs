//! The API keys of callers: read from where they are, and held against each other. Two callers with
//! one key cannot be told apart, and one would act under the other's name.

use crate::config::{CallerProof, CallerSpec, Name};
use crate::secret::{Secret, SecretError, SecretSource};

/// Why API keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ApiKeyError {
    /// Two callers have the same one.
    #[error(
        "callers \"{first}\" and \"{second}\" have the same API key, so that nobody can tell which of them asks; give each its own"
    )]
    Shared {
        /// The one that comes first in the file.
        first: Name,
        /// The other.
        second: Name,
    },
    /// No header can hold one.
    #[error(
        "the API key of caller \"{caller}\" is of several lines, or holds another control character, and no X-Api-Key can be that; put one key there, on one line"
    )]
    Unsendable {
        /// The caller.
        caller: Name,
    },
    /// One could not be read.
    #[error("the API key of caller \"{caller}\" cannot be read")]
    Unreadable {
        /// The caller.
        caller: Name,
        /// What happened.
        source: SecretError,
    },
}

/// Reads the key of a caller; `None` for a caller of another kind. Of a header nobody sees the spaces
/// around its value (RFC 9110 section 5.5), so those of a variable are no part of a key.
pub(super) fn read(spec: &CallerSpec) -> Result<Option<Secret>, ApiKeyError> {
    let Some(source) = source(spec) else {
        return Ok(None);
    };
    let caller = || spec.name.clone();
    let unreadable = |source| ApiKeyError::Unreadable {
        caller: caller(),
        source,
    };
    let key = source.read().map_err(unreadable)?;
    let plain = key.expose().trim_ascii();
    if plain.is_empty() {
        // It would be everybody's who sends an empty one.
        return Err(unreadable(SecretError::Empty(source.to_string())));
    }
    if plain.iter().any(|&b| b.is_ascii_control() && b != b'\t') {
        return Err(ApiKeyError::Unsendable { caller: caller() });
    }
    Ok(Some(Secret::new(plain.to_vec())))
}

fn source(spec: &CallerSpec) -> Option<&SecretSource> {
    match &spec.proof {
        CallerProof::ApiKey(source) => Some(source),
        CallerProof::ClientCertificate(_) | CallerProof::ServiceAccount { .. } => None,
    }
}

/// The callers, by their places in the list, whose key an earlier one has, with that one. Keys that
/// cannot be read are told elsewhere; here they count as the same when they come from one place.
pub fn shared(specs: &[CallerSpec]) -> Vec<(usize, usize)> {
    let keys: Vec<_> = specs.iter().map(|spec| read(spec).ok().flatten()).collect();
    pairs(specs, &keys)
}

/// The callers, by their places in the list, whose key no header can hold. None of them could ever prove
/// itself.
pub fn unsendable(specs: &[CallerSpec]) -> Vec<usize> {
    let is_unsendable =
        |at: &usize| matches!(read(&specs[*at]), Err(ApiKeyError::Unsendable { .. }));
    (0..specs.len()).filter(is_unsendable).collect()
}

/// The same for keys that have been read.
pub(super) fn alone(specs: &[CallerSpec], keys: &[Option<Secret>]) -> Result<(), ApiKeyError> {
    match pairs(specs, keys).first() {
        None => Ok(()),
        Some((first, second)) => Err(ApiKeyError::Shared {
            first: specs[*first].name.clone(),
            second: specs[*second].name.clone(),
        }),
    }
}

/// Values are compared in constant time.
fn pairs(specs: &[CallerSpec], keys: &[Option<Secret>]) -> Vec<(usize, usize)> {
    let same = |one: usize, other: usize| {
        let place = source(&specs[one]);
        let known = keys[one].as_ref().zip(keys[other].as_ref());
        place.is_some() && place == source(&specs[other])
            || known.is_some_and(|(one, other)| one.matches(other.expose()))
    };
    let earlier = |at: usize| (0..at).find(|&first| same(first, at));
    let pair = |at| Some((earlier(at)?, at));
    (0..specs.len()).filter_map(pair).collect()
}
