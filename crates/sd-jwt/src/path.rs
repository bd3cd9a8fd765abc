use core::fmt;

use serde_json::{Map, Value};

/// Where a claim stands: member names and array positions from the payload's top (the claims path pointer of the SD-JWT
/// VC draft, without its wildcard).
///
/// Positions count from 0 in the array as the processed claims show it: elements that were not disclosed, and decoys, are
/// not in it.
///
/// # Examples
///
/// ```
/// use sd_jwt::ClaimPath;
///
/// assert_eq!(ClaimPath::from("email").to_string(), "/email");
/// assert_eq!(ClaimPath::from(["address", "locality"]).to_string(), "/address/locality");
/// assert_eq!(ClaimPath::from("nationalities").element(1).to_string(), "/nationalities/1");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClaimPath(Vec<PathSegment>);

/// One step of a [`ClaimPath`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(clippy::exhaustive_enums, reason = "JSON has no third kind of container")]
pub enum PathSegment {
    /// The member of an object that has this name.
    Member(String),
    /// The element of an array at this position, counted from 0.
    Element(usize),
}

impl ClaimPath {
    /// The whole payload.
    #[must_use]
    pub fn root() -> Self {
        Self::default()
    }

    /// One step further, into an object.
    #[must_use]
    pub fn member(mut self, name: &str) -> Self {
        self.0.push(PathSegment::Member(name.to_owned()));
        self
    }

    /// One step further, into an array.
    #[must_use]
    pub fn element(mut self, position: usize) -> Self {
        self.0.push(PathSegment::Element(position));
        self
    }

    /// The steps from the top.
    #[must_use]
    pub fn segments(&self) -> &[PathSegment] {
        &self.0
    }

    /// The value in `claims` that the path leads to. `None` also for [`ClaimPath::root`], which is no value of its own.
    #[must_use]
    pub fn find<'v>(&self, claims: &'v Map<String, Value>) -> Option<&'v Value> {
        let (first, rest) = self.0.split_first()?;
        let PathSegment::Member(name) = first else { return None };
        rest.iter().try_fold(claims.get(name)?, |value, segment| match (segment, value) {
            (PathSegment::Member(name), Value::Object(map)) => map.get(name),
            (PathSegment::Element(position), Value::Array(items)) => items.get(*position),
            _ => None,
        })
    }
}

/// A member of the payload's top level.
impl From<&str> for ClaimPath {
    fn from(name: &str) -> Self {
        Self::root().member(name)
    }
}

/// Member names from the top.
impl<const N: usize> From<[&str; N]> for ClaimPath {
    fn from(names: [&str; N]) -> Self {
        names.into_iter().map(|name| PathSegment::Member(name.to_owned())).collect()
    }
}

impl FromIterator<PathSegment> for ClaimPath {
    fn from_iter<I: IntoIterator<Item = PathSegment>>(segments: I) -> Self {
        Self(segments.into_iter().collect())
    }
}

/// Written as a JSON Pointer (RFC 6901 §3).
impl fmt::Display for ClaimPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|segment| match segment {
            PathSegment::Member(name) => write!(f, "/{}", name.replace('~', "~0").replace('/', "~1")),
            PathSegment::Element(position) => write!(f, "/{position}"),
        })
    }
}

/// A path under way: each level of a walk points back at the one above, so that a path costs nothing until it is asked for.
#[derive(Clone, Copy)]
pub(crate) struct Here<'p> {
    above: Option<&'p Self>,
    step: Step<'p>,
    pub(crate) depth: usize,
}

#[derive(Clone, Copy)]
enum Step<'p> {
    Root,
    Member(&'p str),
    Element(usize),
}

impl<'p> Here<'p> {
    pub(crate) const ROOT: Here<'static> = Here { above: None, step: Step::Root, depth: 0 };

    pub(crate) fn member(&'p self, name: &'p str) -> Self {
        Self { above: Some(self), step: Step::Member(name), depth: self.depth + 1 }
    }

    pub(crate) fn element(&'p self, position: usize) -> Self {
        Self { above: Some(self), step: Step::Element(position), depth: self.depth + 1 }
    }

    pub(crate) fn path(&self) -> ClaimPath {
        let mut segments = Vec::with_capacity(self.depth);
        let mut here = Some(self);
        while let Some(level) = here {
            match level.step {
                Step::Root => {}
                Step::Member(name) => segments.push(PathSegment::Member(name.to_owned())),
                Step::Element(position) => segments.push(PathSegment::Element(position)),
            }
            here = level.above;
        }
        segments.reverse();
        ClaimPath(segments)
    }
}
