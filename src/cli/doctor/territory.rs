//! Which application permissions of Microsoft Graph a path is for (Microsoft Graph permissions
//! reference). Families that are missing here are not judged.

/// A path below the version, and the families of permissions that matter there, `Mail` of
/// `Mail.ReadWrite`: `*` is one segment, `**` any number of them.
pub(super) struct Territory {
    pub(super) path: &'static str,
    pub(super) families: &'static [&'static str],
}

macro_rules! territories {
    ($($path:literal: $($family:ident)+;)+) => {
        /// The paths, in their order.
        pub(super) const TERRITORIES: &[Territory] = &[$(Territory {
            path: $path,
            families: &[$(stringify!($family)),+],
        }),+];
    };
}

territories! {
    "administrativeUnits/**": Directory RoleManagement;
    "applicationTemplates/**": Application;
    "applications/**": Application Directory;
    // Sign-ins want both the permission of AuditLog and that of Directory.
    "auditLogs/**": AuditLog Directory Policy;
    "chats/**": Chat;
    "communications/**": OnlineMeetings;
    "contacts/**": Directory;
    "contracts/**": Directory;
    "deviceAppManagement/**":
        DeviceManagementApps DeviceManagementConfiguration DeviceManagementManagedDevices;
    "deviceManagement/**":
        DeviceManagementApps DeviceManagementConfiguration DeviceManagementManagedDevices;
    "devices/**": Device Directory;
    "directory/**": Directory RoleManagement;
    // Whoever may read or restore what is deleted is asked for the permission for what it was.
    "directory/deletedItems/**": Application Device Directory Group GroupMember User;
    "directory/subscriptions/**": Directory Organization;
    "directoryObjects/**": Directory;
    "directoryRoleTemplates/**": Directory RoleManagement;
    "directoryRoles/**": Directory RoleManagement;
    "domains/**": Directory Domain;
    "drives/**": Files Sites;
    "groupLifecyclePolicies/**": Directory Group GroupMember;
    "groupSettings/**": Directory Group GroupMember;
    "groups/**": Directory Group GroupMember;
    "groups/*/appRoleAssignments/**": AppRoleAssignment Application Directory Group GroupMember;
    "groups/*/calendar/**": Calendars Group GroupMember;
    "groups/*/drive/**": Files Group GroupMember Sites;
    "groups/*/drives/**": Files Group GroupMember Sites;
    "groups/*/events/**": Group GroupMember;
    // To be told all that stands in a member, an app needs the permission for what the member is.
    "groups/*/members/**": Directory Group GroupMember User;
    "groups/*/onenote/**": Notes;
    "groups/*/owners/**": Directory Group GroupMember User;
    "groups/*/planner/**": Group GroupMember Tasks;
    "groups/*/sites/**": Files Group GroupMember Sites;
    "groups/*/team/**":
        Channel ChannelMessage ChannelSettings Directory Group GroupMember Team TeamMember;
    "groups/*/transitiveMembers/**": Directory Group GroupMember User;
    "identity/**": Policy;
    "invitations/**": Directory User;
    "oauth2PermissionGrants/**": AppRoleAssignment Application Directory;
    "organization/**": Directory Organization;
    "places/**": Calendars;
    "planner/**": Group GroupMember Tasks;
    "policies/**": Policy;
    "policies/featureRolloutPolicies/**": Directory Policy;
    "policies/roleManagementPolicies/**": RoleManagement;
    "policies/roleManagementPolicyAssignments/**": RoleManagement;
    "reports/**": AuditLog Reports;
    "reports/deviceConfigurationDeviceActivity/**":
        DeviceManagementConfiguration DeviceManagementManagedDevices;
    "reports/deviceConfigurationUserActivity/**":
        DeviceManagementConfiguration DeviceManagementManagedDevices;
    "reports/managedDeviceEnrollmentFailureDetails/**":
        DeviceManagementConfiguration DeviceManagementManagedDevices;
    "reports/managedDeviceEnrollmentTopFailures/**":
        DeviceManagementConfiguration DeviceManagementManagedDevices;
    "roleManagement/**": Directory RoleManagement;
    "servicePrincipals/**": AppRoleAssignment Application Directory;
    "servicePrincipals/*/delegatedPermissionClassifications/**": Application Directory Policy;
    "shares/**": Files Sites;
    "sites/**": Sites;
    "sites/*/analytics/**": Files Sites;
    "sites/*/drive/**": Files Sites;
    "sites/*/drives/**": Files Sites;
    "sites/*/getByPath/**": Files Notes Sites;
    "sites/*/lists/**": Files Sites;
    "sites/*/onenote/**": Notes Sites;
    "sites/*/sites/**": Files Notes Sites;
    "subscribedSkus/**": Directory Organization;
    "teams/**": Channel ChannelMessage ChannelSettings Directory Group GroupMember Team TeamMember;
    "teams/*/channels/*/filesFolder": Files Group GroupMember Sites;
    "users/**": AuditLog Directory User;
    "users/*/appRoleAssignments/**": AppRoleAssignment Application Directory User;
    "users/*/calendar/**": Calendars;
    "users/*/calendarGroups/**": Calendars;
    "users/*/calendarView/**": Calendars;
    "users/*/calendars/**": Calendars;
    "users/*/chats/**": Chat;
    "users/*/contactFolders/**": Contacts;
    "users/*/contacts/**": Contacts;
    "users/*/deviceManagementTroubleshootingEvents/**": DeviceManagementManagedDevices;
    "users/*/drive/**": Files Sites;
    "users/*/drives/**": Files Sites;
    "users/*/events/**": Calendars;
    "users/*/findMeetingTimes": Calendars;
    "users/*/followedSites/**": Sites;
    "users/*/getMailTips": Mail;
    "users/*/getSchedule": Calendars;
    "users/*/inferenceClassification/**": Mail;
    "users/*/insights/**": Sites;
    "users/*/joinedTeams":
        Channel ChannelMessage ChannelSettings Directory Group GroupMember Team TeamMember User;
    "users/*/mailFolders/**": Mail MailboxSettings;
    "users/*/mailboxSettings/**": MailboxSettings;
    "users/*/managedAppRegistrations/**": DeviceManagementApps;
    "users/*/managedDevices/**": DeviceManagementManagedDevices;
    "users/*/memberOf/**": Directory Group GroupMember RoleManagement User;
    "users/*/messages/**": Mail;
    "users/*/onenote/**": Notes;
    "users/*/onlineMeetings/**": OnlineMeetings;
    "users/*/outlook/**": MailboxSettings User;
    "users/*/ownedDevices/**": Device Directory User;
    "users/*/photo/**": User;
    "users/*/planner/**": Group GroupMember Tasks;
    "users/*/registeredDevices/**": Device Directory User;
    "users/*/reminderView/**": Calendars;
    "users/*/scopedRoleMemberOf/**": Directory RoleManagement User;
    "users/*/sendMail": Mail;
    "users/*/teamwork/associatedTeams": Channel ChannelMessage ChannelSettings Team TeamMember;
    "users/*/todo/**": Tasks;
    "users/*/transitiveMemberOf/**": Directory Group GroupMember RoleManagement User;
}

/// Whether a family is listed here.
pub(super) fn is_known(family: &str) -> bool {
    TERRITORIES.iter().any(|it| it.families.contains(&family))
}

/// Paths that serve whatever family the request names inside.
pub(super) const EVERYWHERE: &[&str] = &["subscriptions/**", "search/**", "directoryObjects/**"];

/// With one of these an app can make itself anything, or read everything.
pub(super) const PRIVILEGED: &[&str] = &[
    "AppRoleAssignment.ReadWrite.All",
    "Application.ReadWrite.All",
    "Directory.ReadWrite.All",
    "RoleManagement.ReadWrite.Directory",
    "Sites.FullControl.All",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_families_are_listed_once_and_in_the_form_that_is_read() {
        assert!(TERRITORIES.is_sorted_by(|a, b| a.path < b.path));
        for Territory { path, families } in TERRITORIES {
            assert!(families.is_sorted_by(|a, b| a < b), "{path}");
        }
        let paths = TERRITORIES.iter().map(|it| &it.path);
        for path in paths.chain(EVERYWHERE) {
            assert!(!path.starts_with('/') && !path.contains("**/"), "{path}");
        }
    }
}
