//! Roles against what routes let through.

use super::finding::Severity;
use super::roles::judge;
use super::sample::route;

/// The roles that a Graph route with these rules would be told of.
fn beyond(allow: &str, roles: &[&str]) -> Vec<String> {
    let route = route("https://graph.microsoft.com", allow);
    let roles: Vec<String> = roles.iter().map(|role| (*role).to_owned()).collect();
    let found = judge(&roles, &route);
    let told = found.iter().filter(|it| it.severity == Severity::Warning);
    told.map(|it| it.message.clone()).collect()
}

fn allowing(line: &str) -> String {
    format!("allow: ['{line}']")
}

#[test]
fn a_role_that_something_let_through_needs_is_not_told_of() {
    for case in [
        "GET /v1.0/users/** User.Read.All",
        "GET /v1.0/users/** Mail.Read",
        "GET /v1.0/users/*/messages Mail.ReadBasic.All",
        "POST /v1.0/users/*/sendMail Mail.Send",
        "PATCH /beta/users/* User.ReadWrite.All",
        "PATCH /*/users/* Directory.ReadWrite.All",
        "GET /v1.0/users/x(y)/messages Mail.Read",
        "GET /** Sites.Read.All",
        "POST /v1.0/subscriptions Calendars.Read",
        "PUT /v1.0/drives/*/items/** Sites.ReadWrite.All",
        "GET /v1.0/groups/*/members GroupMember.Read.All",
        "GET /v1.0/users Something.New.All",
        "GET /v1.0/oauth2PermissionGrants Directory.Read.All",
        "GET /v1.0/users/*/appRoleAssignments Directory.Read.All",
        "GET /v1.0/groups/*/appRoleAssignments Directory.Read.All",
        "GET /v1.0/servicePrincipals/*/appRoleAssignedTo Directory.Read.All",
        "GET /v1.0/users/*/outlook/masterCategories MailboxSettings.Read",
        "GET /v1.0/users/*/drive/** Sites.Read.All",
        "GET /v1.0/groups/*/drives Sites.Read.All",
        "GET /v1.0/users/*/joinedTeams User.Read.All",
        "GET /v1.0/users/*/transitiveMemberOf User.Read.All",
        "GET /v1.0/auditLogs/signIns Directory.Read.All",
        "GET /v1.0/sites/*/lists/** Sites.Selected",
        "GET /v1.0/drives/*/items/* Files.SelectedOperations.Selected",
        "POST /v1.0/invitations User.Invite.All",
        "POST /v1.0/invitations Directory.ReadWrite.All",
        "GET /v1.0/directory/deletedItems/microsoft.graph.user User.Read.All",
        "GET /v1.0/directory/deletedItems/microsoft.graph.group Group.Read.All",
        "POST /v1.0/directory/deletedItems/*/restore Application.ReadWrite.All",
        "POST /v1.0/users/*/getMailTips Mail.Read",
        "GET /v1.0/groups/*/transitiveMembers User.Read.All",
        "GET /v1.0/teams/*/channels/*/filesFolder Files.Read.All",
        "GET /v1.0/users/*/teamwork/associatedTeams Team.ReadBasic.All",
        "GET /v1.0/contracts Directory.Read.All",
        "GET /v1.0/groupSettings Group.Read.All",
        "GET /v1.0/groupSettings Directory.Read.All",
        "GET /v1.0/groupLifecyclePolicies Directory.Read.All",
    ] {
        let (line, role) = case.rsplit_once(' ').unwrap();
        assert_eq!(beyond(&allowing(line), &[role]), [""; 0], "{case}");
    }
}

#[test]
fn a_role_for_nothing_that_is_let_through_is_told_of() {
    for case in [
        "GET /v1.0/users Mail.Read",
        "POST /v1.0/users/*/sendMail User.ReadWrite.All",
        "GET /v1.0/users/*/messages/** Sites.FullControl.All",
        "GET /users User.Read.All",
    ] {
        let (line, role) = case.rsplit_once(' ').unwrap();
        let found = beyond(&allowing(line), &[role]);
        assert_eq!(found.len(), 1, "{case}");
        assert!(
            found[0].starts_with(&format!("nothing in allow seems to need {role};")),
            "{found:?}"
        );
    }
}

#[test]
fn a_role_that_writes_where_only_reads_pass_is_told_of() {
    let found = beyond(
        "allow: [GET /v1.0/users/**]",
        &["User.ReadWrite.All", "User.Read.All", "Mail.Send"],
    );
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found[0].starts_with("nothing in allow seems to need Mail.Send;"),
        "there is no permission to read beside it: {found:?}"
    );
    assert!(
        found[1].contains("only reads through where User.ReadWrite.All can write"),
        "{found:?}"
    );
}

#[test]
fn a_route_without_allow_is_told_what_its_callers_could_do() {
    let roles = ["RoleManagement.ReadWrite.Directory", "User.Read.All"];
    let found = beyond("", &roles);
    assert!(
        found[0].contains("RoleManagement.ReadWrite.Directory every caller"),
        "{found:?}"
    );
    assert!(!found[0].contains("User.Read.All"));
    let open = "allow: [GET /v1.0/users]\n    batch: pass";
    assert_eq!(
        beyond(open, &roles).len(),
        1,
        "an unread batch is everything"
    );
    assert_eq!(beyond("", &["User.Read.All"]), [""; 0]);
}

#[test]
fn a_version_in_the_upstream_is_not_looked_for_in_the_pattern() {
    let route = route("https://graph.microsoft.com/v1.0", "allow: [GET /users]");
    assert_eq!(judge(&["User.Read.All".to_owned()], &route), []);
    assert_eq!(judge(&["Mail.Read".to_owned()], &route).len(), 1);
}

#[test]
fn what_stands_behind_the_version_in_the_upstream_is_part_of_every_path() {
    let route = route(
        "https://graph.microsoft.com/v1.0/users",
        "allow: ['GET /*/messages']",
    );
    assert_eq!(judge(&["Mail.Read".to_owned()], &route), []);
    let beyond = judge(&["Sites.Read.All".to_owned()], &route);
    assert_eq!(beyond.len(), 1, "{beyond:?}");
}
