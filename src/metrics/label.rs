//! The closed sets of label values. No label of any metric holds text of a request.

macro_rules! labels {
    ($(#[$doc:meta])* $name:ident { $($(#[$each:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$each])* $variant,)*
        }

        impl $name {
            /// Every value, in the order of the enum.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The label's text.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}
labels! {
    /// The closed set of methods that are told apart.
    MethodLabel {
        /// `DELETE`.
        Delete = "DELETE",
        /// `GET`.
        Get = "GET",
        /// `HEAD`.
        Head = "HEAD",
        /// `OPTIONS`.
        Options = "OPTIONS",
        /// Any other: OpenTelemetry's word for it.
        Other = "_OTHER",
        /// `PATCH`.
        Patch = "PATCH",
        /// `POST`.
        Post = "POST",
        /// `PUT`.
        Put = "PUT",
    }
}

labels! {
    /// Why a request was sent to its upstream again.
    RetryReason {
        /// A claims challenge was answered with a token that carries the claims.
        Challenge = "challenge",
        /// The connection died before the first byte of an answer.
        Connection = "connection",
        /// The route's `retry` lists the answer's status.
        Status = "status",
        /// The upstream refused the cached token and another was fetched.
        Token = "token",
    }
}

labels! {
    /// What a connection to an upstream is doing.
    ConnectionState {
        /// It carries a request.
        Active = "active",
        /// It waits in the pool.
        Idle = "idle",
    }
}

labels! {
    /// How a call for a token ended.
    RefreshOutcome {
        /// The answer could not be understood.
        Malformed = "malformed",
        /// The credential or the request was refused: a person must change something.
        Rejected = "rejected",
        /// There is a token.
        Success = "success",
        /// Too many calls.
        Throttled = "throttled",
        /// No answer, or a fault on the other side.
        Unavailable = "unavailable",
    }
}

impl MethodLabel {
    /// The label of a method.
    #[inline]
    pub fn of(method: &http::Method) -> Self {
        use http::Method;
        match *method {
            Method::DELETE => Self::Delete,
            Method::GET => Self::Get,
            Method::HEAD => Self::Head,
            Method::OPTIONS => Self::Options,
            Method::PATCH => Self::Patch,
            Method::POST => Self::Post,
            Method::PUT => Self::Put,
            _ => Self::Other,
        }
    }
}
