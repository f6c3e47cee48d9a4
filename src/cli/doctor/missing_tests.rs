//! What roles do not suffice for, against Microsoft's permissions reference.

use super::finding::Severity;
use super::missing::judge;
use super::sample::route;

const GRAPH: &str = "https://graph.microsoft.com";

/// What a Graph route with these lines would be told, with these roles in its token.
fn told(lines: &[&str], roles: &[&str]) -> Option<String> {
    let lines = format!("allow: ['{}']", lines.join("', '"));
    let roles: Vec<String> = roles.iter().map(|role| (*role).to_owned()).collect();
    let finding = judge(&roles, &route(GRAPH, &lines))?;
    assert_eq!(finding.severity, Severity::Note);
    Some(finding.message)
}

/// Lines with their least privileged application permission, and lines that nothing is known of.
const SERVED: &[&str] = &[
    "GET /v1.0/users User.ReadBasic.All",
    "GET /v1.0/users/* User.Read.All",
    "GET /v1.0/users/*/manager User.Read.All",
    "POST /v1.0/users User.ReadWrite.All",
    "PATCH /v1.0/users/* User.ReadWrite.All",
    "DELETE /v1.0/users/* User.DeleteRestore.All",
    "PATCH /v1.0/users/* User.EnableDisableAccount.All",
    "POST /v1.0/users/*/revokeSignInSessions User.RevokeSessions.All",
    "GET /v1.0/users/*/memberOf GroupMember.Read.All",
    "GET /v1.0/users/*/photo/$value User.Read.All",
    "POST /v1.0/users/*/assignLicense LicenseAssignment.ReadWrite.All",
    "GET /v1.0/users/*/authentication/methods UserAuthenticationMethod.Read.All",
    "GET /v1.0/users/*/registeredDevices Directory.Read.All",
    "GET /v1.0/users/*/scopedRoleMemberOf RoleManagement.Read.Directory",
    "GET /v1.0/users/*/managedDevices DeviceManagementManagedDevices.Read.All",
    "POST /v1.0/users/*/sendMail Mail.Send",
    "POST /v1.0/users/*/microsoft.graph.sendMail Mail.Send",
    "GET /v1.0/users/*/messages Mail.ReadBasic.All",
    "GET /v1.0/users/*/mailFolders/*/messages/** Mail.Read",
    "POST /v1.0/users/*/messages Mail.ReadWrite",
    "PATCH /v1.0/users/*/messages/* Mail.ReadWrite",
    "GET /v1.0/users/*/mailboxSettings MailboxSettings.Read",
    "POST /v1.0/users/*/mailFolders/inbox/messageRules MailboxSettings.ReadWrite",
    "GET /v1.0/users/*/calendarView Calendars.ReadBasic.All",
    "POST /v1.0/users/*/events Calendars.ReadWrite",
    "DELETE /v1.0/users/*/events/* Calendars.ReadWrite",
    "POST /v1.0/users/*/calendar/getSchedule Calendars.ReadBasic.All",
    "GET /v1.0/users/*/reminderView(x) Calendars.Read",
    "GET /v1.0/users/*/contacts Contacts.Read",
    "GET /v1.0/users/*/onlineMeetings/* OnlineMeetings.Read.All",
    "GET /v1.0/communications/callRecords/* CallRecords.Read.All",
    "GET /v1.0/users/*/presence Presence.Read.All",
    "GET /v1.0/users/*/chats Chat.ReadBasic.All",
    "GET /v1.0/chats/*/messages Chat.Read.All",
    "GET /v1.0/users/*/todo/lists Tasks.Read.All",
    "PATCH /v1.0/planner/tasks/* Tasks.ReadWrite.All",
    "GET /v1.0/users/*/drive/root/children Files.Read.All",
    "PUT /v1.0/drives/*/items/*/content Files.ReadWrite.All",
    "GET /v1.0/shares/*/driveItem Files.Read.All",
    "GET /v1.0/sites/* Sites.Selected",
    "PATCH /v1.0/sites/*/lists/*/items/*/fields Sites.Selected",
    "GET /v1.0/sites/*/lists/*/items Sites.Read.All",
    "GET /v1.0/sites/*/lists/*/drive Files.Read.All",
    "GET /v1.0/sites/*/sites/*/drive/** Files.Read.All",
    "POST /v1.0/sites/*/permissions Sites.FullControl.All",
    "DELETE /v1.0/drives/*/items/* Files.SelectedOperations.Selected",
    "GET /v1.0/users/*/followedSites Sites.Read.All",
    "GET /v1.0/users/*/onenote/notebooks Notes.Read.All",
    "GET /v1.0/groups GroupMember.Read.All",
    "POST /v1.0/groups Group.Create",
    "GET /v1.0/groups/*/members GroupMember.Read.All",
    "DELETE /v1.0/groups/*/members/*/$ref GroupMember.ReadWrite.All",
    "GET /v1.0/groups/*/drives Group.Read.All",
    "GET /v1.0/teams/*/channels Channel.ReadBasic.All",
    "POST /v1.0/teams Team.Create",
    "GET /v1.0/teams/*/members TeamMember.Read.All",
    "GET /v1.0/teams/*/channels/*/messages ChannelMessage.Read.All",
    "GET /v1.0/users/*/joinedTeams Team.ReadBasic.All",
    "PUT /v1.0/teams/*/schedule Schedule.ReadWrite.All",
    "GET /v1.0/applications Application.Read.All",
    "PATCH /v1.0/applications/* Application.ReadWrite.OwnedBy",
    "POST /v1.0/servicePrincipals/*/appRoleAssignedTo AppRoleAssignment.ReadWrite.All",
    "GET /v1.0/servicePrincipals/*/delegatedPermissionClassifications Policy.Read.PermissionGrant",
    "GET /v1.0/devices Device.Read.All",
    "GET /v1.0/deviceManagement/managedDevices DeviceManagementManagedDevices.Read.All",
    "GET /v1.0/deviceManagement/auditEvents DeviceManagementApps.Read.All",
    "GET /v1.0/deviceAppManagement/mobileApps DeviceManagementApps.Read.All",
    "GET /v1.0/organization Organization.Read.All",
    "GET /v1.0/subscribedSkus Organization.Read.All",
    "GET /v1.0/directory/subscriptions Organization.Read.All",
    "GET /v1.0/directory/deletedItems/microsoft.graph.group Group.Read.All",
    "GET /v1.0/directory/administrativeUnits AdministrativeUnit.Read.All",
    "GET /v1.0/domains Domain.Read.All",
    "GET /v1.0/roleManagement/directory/roleAssignments RoleManagement.Read.Directory",
    "GET /v1.0/policies/authorizationPolicy Policy.Read.All",
    "GET /v1.0/policies/roleManagementPolicies RoleManagement.Read.Directory",
    "PATCH /v1.0/identity/conditionalAccess/policies/* Policy.ReadWrite.ConditionalAccess",
    "GET /v1.0/auditLogs/signIns AuditLog.Read.All",
    "GET /v1.0/reports/** Reports.Read.All",
    "GET /v1.0/reports/** DeviceManagementConfiguration.Read.All",
    "GET /v1.0/servicePrincipals/** Policy.Read.PermissionGrant",
    "GET /v1.0/policies/featureRolloutPolicies Directory.ReadWrite.All",
    "GET /v1.0/reports/authenticationMethods/userRegistrationDetails AuditLog.Read.All",
    "POST /v1.0/invitations User.Invite.All",
    "POST /v1.0/subscriptions Mail.Read",
    "POST /v1.0/search/query Files.Read.All",
    "POST /v1.0/directoryObjects/getByIds Group.Read.All",
    "POST /v1.0/$batch User.Read.All",
    "GET /v1.0/security/alerts_v2 User.Read.All",
    "GET /v1.0/** Mail.Send",
    "GET /*/*/* Mail.Send",
    "GET /v1.0/users/** Contacts.Read",
    "GET /nowhere User.Read.All",
    "GET /beta/users/*/mailFolders Mail.Read",
];

#[test]
fn a_line_with_its_least_privileged_permission_is_never_told_of() {
    for case in SERVED {
        let (line, role) = case.rsplit_once(' ').unwrap();
        assert_eq!(told(&[line], &[role]), None, "{line} {role}");
    }
}

/// Lines with a role that does not suffice, and behind the colon the part in brackets.
const UNSERVED: &[&str] = &[
    "GET /v1.0/users AuditLog.Read.All: Directory, User",
    "POST /v1.0/users/*/sendMail User.Read.All: Mail.Send",
    "POST /v1.0/users/*/sendMail Mail.ReadWrite: Mail.Send",
    "PATCH /v1.0/users/* User.Read.All: Directory, User; to write",
    "GET /v1.0/users/* Mail.Send: Directory, User",
    "DELETE /v1.0/users/* User.Read.All: Directory, User; to write",
    "GET /v1.0/users/*/messages User.Read.All: Mail",
    "PATCH /v1.0/users/*/messages/* Mail.Read: Mail; to write",
    "GET /v1.0/users/*/events Mail.Read: Calendars",
    "GET /v1.0/users/*/mailboxSettings Mail.Read: MailboxSettings",
    "GET /v1.0/users/*/contacts User.Read.All: Contacts",
    "GET /v1.0/sites/* Files.Read.All: Sites",
    "PUT /v1.0/drives/*/items/*/content Sites.Read.All: Files, Sites; to write",
    "GET /v1.0/users/*/drive/** User.Read.All: Files, Sites",
    "GET /v1.0/groups User.Read.All: Directory, Group, GroupMember",
    "DELETE /v1.0/groups/*/owners/*/$ref Group.Read.All: Directory, Group, GroupMember, User; to write",
    "GET /v1.0/chats/* User.Read.All: Chat",
    "GET /v1.0/devices User.Read.All: Device, Directory",
    "GET /v1.0/applications User.Read.All: Application, Directory",
    "GET /v1.0/reports/getOffice365ActiveUserCounts(x) User.Read.All: AuditLog, Reports",
    "GET /v1.0/organization User.Read.All: Directory, Organization",
];

#[test]
fn a_line_that_no_role_serves_is_told_of_with_the_families_that_would() {
    for case in UNSERVED {
        let (asked, families) = case.split_once(": ").unwrap();
        let (line, role) = asked.rsplit_once(' ').unwrap();
        let said = format!("no role of the token seems to permit {line} ({families}): Graph");
        let found = told(&[line], &[role]).unwrap_or_default();
        assert!(found.starts_with(&said), "{line} {role}: {found}");
    }
}

#[test]
fn of_a_line_only_the_methods_that_no_role_serves_are_named() {
    let found = told(&["GET,POST,PATCH,DELETE /v1.0/users/*"], &["User.Read.All"]);
    let said = "permit PATCH,DELETE /v1.0/users/* (Directory, User; to write): ";
    assert!(found.unwrap_or_default().contains(said));
}

#[test]
fn nothing_is_said_where_a_right_may_stand_that_is_not_known() {
    let line = "POST /v1.0/users/*/sendMail";
    assert!(told(&[line], &["User.Read.All"]).is_some());
    assert_eq!(told(&[line], &[]), None, "that is told with the claims");
    assert_eq!(told(&[line], &["User.Read.All", "Something.New"]), None);
    assert_eq!(
        judge(&["User.Read.All".to_owned()], &route(GRAPH, "")),
        None
    );
}

#[test]
fn one_note_names_five_lines_and_counts_the_rest() {
    let lines = [
        "GET /v1.0/users/*",
        "GET /v1.0/users/*/messages",
        "GET /v1.0/sites/*",
        "GET /v1.0/groups",
        "GET /v1.0/chats/*",
        "GET /v1.0/devices",
        "GET /v1.0/domains",
        "GET /v1.0/organization",
    ];
    let named = |count| {
        let found = told(&lines[..count], &["User.Read.All"]).unwrap_or_default();
        (found.matches(" /v1.0/").count(), found)
    };
    let (count, found) = named(6);
    assert!(count == 5 && !found.contains(" more:"), "{found}");
    let (count, found) = named(8);
    assert!(
        count == 5 && found.contains(") and 2 more: Graph"),
        "{found}"
    );
    assert!(!found.contains("GET /v1.0/users/* "), "{found}");
}

#[test]
fn the_version_and_what_follows_may_stand_in_the_upstream() {
    let route = route(&format!("{GRAPH}/v1.0/users"), "allow: ['GET /*/messages']");
    let told = |role: &str| judge(&[role.to_owned()], &route).map(|it| it.message);
    assert_eq!(told("Mail.Read"), None);
    let found = told("User.Read.All").unwrap_or_default();
    assert!(found.contains("permit GET /*/messages (Mail): "), "{found}");
}
