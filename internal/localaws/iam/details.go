package iam

import (
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/service"
	"github.com/rolecall/rolecall/internal/localaws/wire"
)

type detailsResult struct {
	UserDetailList  wire.List[userDetail]
	GroupDetailList wire.List[groupDetail]
	RoleDetailList  wire.List[roleDetail]
	Policies        wire.List[policyDetail]
	pageEnd
}

// policyText is an inline policy.
type policyText struct{ PolicyName, PolicyDocument string }

type userDetail struct {
	Path, UserName          string
	UserID                  string `xml:"UserId" json:"UserId"`
	ARN                     string `xml:"Arn" json:"Arn"`
	CreateDate              wire.Time
	UserPolicyList          wire.List[policyText]
	GroupList               wire.List[string]
	AttachedManagedPolicies wire.List[attachedPolicy]
	PermissionsBoundary     *boundaryXML `xml:",omitempty" json:",omitempty"`
	Tags                    wire.List[account.Tag]
}

type groupDetail struct {
	Path, GroupName         string
	GroupID                 string `xml:"GroupId" json:"GroupId"`
	ARN                     string `xml:"Arn" json:"Arn"`
	CreateDate              wire.Time
	GroupPolicyList         wire.List[policyText]
	AttachedManagedPolicies wire.List[attachedPolicy]
}

type roleDetail struct {
	Path, RoleName           string
	RoleID                   string `xml:"RoleId" json:"RoleId"`
	ARN                      string `xml:"Arn" json:"Arn"`
	CreateDate               wire.Time
	AssumeRolePolicyDocument string
	InstanceProfileList      wire.List[profileXML]
	RolePolicyList           wire.List[policyText]
	AttachedManagedPolicies  wire.List[attachedPolicy]
	PermissionsBoundary      *boundaryXML `xml:",omitempty" json:",omitempty"`
	Tags                     wire.List[account.Tag]
	RoleLastUsed             struct{}
}

type policyDetail struct {
	policyXML
	PolicyVersionList wire.List[versionXML]
}

// sections are what the details consist of, in the order of the pages.
var sections = []string{"User", "Group", "Role", "LocalManagedPolicy", "AWSManagedPolicy"}

// getDetails reads on from the marker, SECTION/NAME, over the sections that are
// asked for. AWS's own policies are shown only if they are in use.
func getDetails(q *service.Call) (any, error) {
	marker, size, err := pageParameters(q)
	if err != nil {
		return nil, err
	}
	filter := q.List("Filter")
	for _, section := range filter {
		if !slices.Contains(sections, section) {
			q.Violate(
				"Value '%s' at 'filter' failed to satisfy constraint: Member must satisfy constraint: [Member must "+
					"satisfy enum value set: [%s]]",
				section, strings.Join(sections, ", "),
			)
		}
	}
	if err := q.Check(); err != nil {
		return nil, err
	}
	d := details{call: q, size: size}
	err = q.Account.View(func(state account.State) error {
		d.state = state
		section, name, _ := strings.Cut(marker, "/")
		first := max(0, slices.Index(sections, section))
		for i, section := range sections[first:] {
			if i > 0 {
				name = ""
			}
			if len(filter) > 0 && !slices.Contains(filter, section) {
				continue
			}
			if err := d.read(section, name); err != nil || d.out.IsTruncated {
				return err
			}
		}
		return nil
	})
	return d.out, wrap(err, "read the account's details")
}

// details collects one page.
type details struct {
	call     *service.Call
	state    account.State
	size     int
	used     *usage
	profiles map[string][]*InstanceProfile // by role; nil until needed
	last     string
	out      detailsResult
	failed   error
}

// add counts an entity and puts it on the page, if there is room.
func (d *details) add(section, name string, put func() error) (more bool) {
	if d.size == 0 {
		d.out.pageEnd = pageEnd{true, d.last}
		return false
	}
	d.size--
	d.last = section + "/" + name
	d.failed = put()
	return d.failed == nil
}

func (d *details) read(section, after string) error {
	var err error
	switch section {
	case "User":
		err = d.state.UsersAfter(after, func(u *account.User) bool {
			return d.add(section, u.Name, func() error { return d.user(u) })
		})
	case "Group":
		err = d.state.GroupsAfter(after, func(g *account.Group) bool {
			return d.add(section, g.Name, func() error { return d.group(g) })
		})
	case "Role":
		err = d.state.RolesAfter(after, func(r *account.Role) bool {
			return d.add(section, r.Name, func() error { return d.role(r) })
		})
	case "LocalManagedPolicy":
		err = d.state.PoliciesAfter(after, func(p *account.ManagedPolicy) bool {
			return d.add(section, p.Name, func() error { return d.policy(p) })
		})
	default:
		err = d.awsPolicies(after)
	}
	if err == nil {
		err = d.failed
	}
	return err
}

func (d *details) awsPolicies(after string) error {
	if err := d.countUsage(); err != nil {
		return err
	}
	own := slices.SortedFunc(slices.Values(account.AWSPolicies()), func(a, b *account.ManagedPolicy) int {
		return strings.Compare(a.Name, b.Name)
	})
	for _, p := range own {
		arn := d.state.Account().PolicyARN(p)
		if p.Name <= after || d.used.attached[arn]+d.used.boundary[arn] == 0 {
			continue
		}
		if !d.add("AWSManagedPolicy", p.Name, func() error { return d.policy(p) }) {
			break
		}
	}
	return nil
}

func (d *details) countUsage() error {
	if d.used != nil {
		return nil
	}
	used, err := countUsage(d.state, "")
	d.used = &used
	return err
}

func inlineTexts(permissions account.Permissions) wire.List[policyText] {
	var texts wire.List[policyText]
	for _, document := range permissions.Policies {
		texts = append(texts, policyText{document.Name, escape(document.Text)})
	}
	return texts
}

func (d *details) attached(permissions account.Permissions) (wire.List[attachedPolicy], error) {
	var list wire.List[attachedPolicy]
	for _, arn := range permissions.Attached {
		one, err := d.state.PolicyByARN(arn)
		if err != nil {
			return nil, err
		}
		list = append(list, attachedPolicy{one.Name, arn})
	}
	return list, nil
}

func (d *details) user(u *account.User) error {
	attached, err := d.attached(u.Permissions)
	d.out.UserDetailList = append(d.out.UserDetailList, userDetail{
		u.Path, u.Name, u.ID, d.state.Account().UserARN(u), wire.Time(u.Created), inlineTexts(u.Permissions),
		slices.Sorted(slices.Values(u.Groups)), attached, shownBoundary(u.Boundary), u.Tags,
	})
	return err
}

func (d *details) group(g *account.Group) error {
	attached, err := d.attached(g.Permissions)
	d.out.GroupDetailList = append(d.out.GroupDetailList, groupDetail{
		g.Path, g.Name, g.ID, d.state.Account().GroupARN(g), wire.Time(g.Created), inlineTexts(g.Permissions), attached,
	})
	return err
}

func (d *details) role(r *account.Role) error {
	if d.profiles == nil {
		all, err := Profiles(d.state)
		if err != nil {
			return err
		}
		d.profiles = map[string][]*InstanceProfile{}
		for _, one := range all {
			key := strings.ToLower(one.Role)
			d.profiles[key] = append(d.profiles[key], one)
		}
	}
	attached, err := d.attached(r.Permissions)
	if err != nil {
		return err
	}
	shown := roleDetail{
		Path:                     r.Path,
		RoleName:                 r.Name,
		RoleID:                   r.ID,
		ARN:                      d.state.Account().RoleARN(r),
		CreateDate:               wire.Time(r.Created),
		AssumeRolePolicyDocument: escape(ShownTrust(d.state, r)),
		RolePolicyList:           inlineTexts(r.Permissions),
		AttachedManagedPolicies:  attached,
		PermissionsBoundary:      shownBoundary(r.Boundary),
		Tags:                     r.Tags,
	}
	for _, one := range d.profiles[strings.ToLower(r.Name)] {
		profile, err := newProfileXML(d.state, one)
		if err != nil {
			return err
		}
		shown.InstanceProfileList = append(shown.InstanceProfileList, profile)
	}
	d.out.RoleDetailList = append(d.out.RoleDetailList, shown)
	return nil
}

func (d *details) policy(p *account.ManagedPolicy) error {
	if err := d.countUsage(); err != nil {
		return err
	}
	shown := policyDetail{policyXML: newPolicyXML(d.state.Account(), p, *d.used)}
	shown.Tags = nil
	for _, version := range slices.Backward(p.Versions) {
		shown.PolicyVersionList = append(shown.PolicyVersionList, versionXML{
			Document:         escape(version.Text),
			VersionID:        version.ID,
			IsDefaultVersion: version.Default,
			CreateDate:       wire.Time(version.Created),
		})
	}
	d.out.Policies = append(d.out.Policies, shown)
	return nil
}
