//! What the doctor makes of the roles in a token.

use http::StatusCode;
use tokenferry::simulator::{GRAPH, Script};

use crate::cli::desk;
use crate::doctor::{doctor, refusal};

#[tokio::test]
async fn roles_far_beyond_allow_are_pointed_out() {
    let own = "\
routes:
  - {name: graph, path: /graph, upstream: 'https://GRAPH', allow: ['GET /v1.0/users/*']}
";
    let (simulator, folder) = desk(own).await;
    simulator.set_roles(&[
        "User.Read.All",
        "Mail.Send",
        "Sites.FullControl.All",
        "User.ReadWrite.All",
    ]);
    let (code, said) = doctor(&simulator, folder.path(), &[]).await;
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("warning    nothing in allow seems to need Mail.Send, Sites.FullControl.All"),
        "{said}"
    );
    assert!(
        said.contains(
            "warning    allow lets only reads through where User.ReadWrite.All can write"
        ),
        "{said}"
    );
}

#[tokio::test]
async fn a_permission_that_was_not_granted_is_pointed_out() {
    let own = "\
routes:
  - {name: graph, path: /graph, upstream: 'https://GRAPH', allow: ['GET /v1.0/users/*', 'POST /v1.0/users/*/sendMail']}
";
    let (simulator, folder) = desk(own).await;
    let note = "  note       no role of the token seems to permit POST /v1.0/users/*/sendMail (Mail.Send): ";
    for (roles, told) in [
        (&["User.Read.All"][..], true),
        (&["User.Read.All", "Mail.Send"], false),
    ] {
        simulator.set_roles(roles);
        let (code, said) = doctor(&simulator, folder.path(), &[]).await;
        assert_eq!(code, 0, "{said}");
        assert_eq!(said.contains(note), told, "{said}");
    }
}

#[tokio::test]
async fn what_the_roles_come_to_is_told_behind_what_is_worse() {
    let own = "routes: [{name: graph, path: /graph, upstream: 'https://GRAPH'}]\n";
    let (simulator, folder) = desk(own).await;
    simulator.set_roles(&[]);
    let (code, said) = doctor(&simulator, folder.path(), &[]).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("\n  roles      none\n"), "{said}");
    let none = "\n  warning    the token holds no roles: add application permissions";
    assert!(said.contains(none), "{said}");
    simulator.set_roles(&["Mail.Send", "User.Read.All"]);
    let denied = refusal(StatusCode::UNAUTHORIZED, "InvalidAuthenticationToken");
    simulator.script(Script::on(GRAPH, denied));
    let (code, said) = doctor(&simulator, folder.path(), &[]).await;
    assert_eq!(code, 1, "{said}");
    let at = |line: &str| said.find(&format!("\n  {line}")).expect(&said);
    let open = at("note       the route lets everything through, so every caller may do");
    assert!(at("roles      Mail.Send, User.Read.All\n") < at("problem    "));
    assert!(at("problem    ") < open, "{said}");
}
