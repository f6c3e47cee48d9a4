//! The codes of the proxy's own answers: one closed table of name, status and RFC 9209 error type.
//! It names the `code` of the error body, the `reason` label of the refusal metric and the code in
//! the access log.

use http::StatusCode;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $status:ident, $proxy_error:literal;)*) => {
        /// Why a request was answered here and not by its upstream.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code {
            $($(#[$doc])* $variant,)*
        }

        impl Code {
            /// Every code, in the order of the enum.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The code as the wire and the metrics spell it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The status of the answer.
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)* }
            }

            /// The error type of RFC 9209 section 2.3.
            pub const fn proxy_error(self) -> &'static str {
                match self { $(Self::$variant => $proxy_error,)* }
            }
        }
    };
}

codes! {
    /// The request is malformed or ambiguous.
    BadRequest = "badRequest", BAD_REQUEST, "http_request_error";
    /// The request's body is larger than the route takes.
    BodyTooLarge = "bodyTooLarge", PAYLOAD_TOO_LARGE, "http_request_denied";
    /// The route wants to know who calls, and this caller did not prove it.
    CallerUnknown = "callerUnknown", UNAUTHORIZED, "http_request_denied";
    /// A web page of another site.
    CrossSite = "crossSite", FORBIDDEN, "http_request_denied";
    /// An expectation other than `100-continue`.
    ExpectationFailed = "expectationFailed", EXPECTATION_FAILED, "http_request_error";
    /// Too many or too large header fields.
    HeadersTooLarge = "headersTooLarge", REQUEST_HEADER_FIELDS_TOO_LARGE, "http_request_error";
    /// The host is not served here.
    HostNotServed = "hostNotServed", MISDIRECTED_REQUEST, "http_request_denied";
    /// A fault of tokenferry itself.
    InternalError = "internalError", INTERNAL_SERVER_ERROR, "proxy_internal_error";
    /// The method is unknown, or not one that is forwarded.
    MethodNotSupported = "methodNotSupported", METHOD_NOT_ALLOWED, "http_request_denied";
    /// No route matches.
    NoRoute = "noRoute", NOT_FOUND, "destination_not_found";
    /// The route does not let this through.
    NotAllowed = "notAllowed", FORBIDDEN, "http_request_denied";
    /// A bound is reached.
    Overloaded = "overloaded", SERVICE_UNAVAILABLE, "connection_limit_reached";
    /// The request did not arrive in time.
    RequestTimeout = "requestTimeout", REQUEST_TIMEOUT, "http_request_error";
    /// The upstream asked for quiet and the route holds it.
    Throttled = "throttled", TOO_MANY_REQUESTS, "destination_unavailable";
    /// The upstream refused a fresh token.
    TokenRefused = "tokenRefused", BAD_GATEWAY, "proxy_configuration_error";
    /// Entra refused the credential: a person must change something.
    TokenRejected = "tokenRejected", BAD_GATEWAY, "proxy_configuration_error";
    /// No token for now, or no way to judge the caller's.
    TokenUnavailable = "tokenUnavailable", SERVICE_UNAVAILABLE, "destination_unavailable";
    /// The upstream cannot be reached, or its answer cannot be understood.
    UpstreamUnreachable = "upstreamUnreachable", BAD_GATEWAY, "destination_unavailable";
    /// The upstream did not answer in time.
    UpstreamTimeout = "upstreamTimeout", GATEWAY_TIMEOUT, "http_response_timeout";
    /// The request line is too long.
    UriTooLong = "uriTooLong", URI_TOO_LONG, "http_request_error";
}

impl Code {
    /// The body of an answer: the OData error form, in the order of Microsoft's own, because people
    /// read it raw. `date` is an RFC 3339 timestamp.
    pub fn document(self, message: &str, request_id: &str, date: &str) -> String {
        let [code, message, id, date] =
            [self.as_str(), message, request_id, date].map(serde_json::Value::from);
        format!(
            r#"{{"error":{{"code":{code},"message":{message},"innerError":{{"request-id":{id},"date":{date}}}}}}}"#
        )
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
