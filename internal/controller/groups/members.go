package groups

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/lazyregexp"
)

// Bounds of one mapping. What is above them is an error, and never cut off: an object must
// fit into what API servers store.
const (
	maxMembers      = 5000
	maxMembersBytes = 1 << 20
)

// A removal is large if it takes more than largeCount members that are more than one in
// largePart, or the last of several: it waits for one period more than others.
const (
	largeCount = 5
	largePart  = 5
)

// goneReads is how often IAM must say that there is no such group before its members go:
// once, and two confirmations.
const goneReads = 3

// Reasons of the condition RemovalsHeld.
const (
	reasonNobodyMissing = "NobodyMissing"
	reasonConfirming    = "Confirming"
	reasonLargeRemoval  = "LargeRemoval"
	reasonDisagree      = "AnswersDisagree"
	reasonGroupGone     = "GroupGone"
	reasonNotRead       = "NotRead"
)

// pace is how fast members go. They come at once.
type pace struct {
	// every is how often IAM is read, delay how long it must have left out a member, in
	// two successive reads at least.
	every, delay time.Duration
}

// change is what a read makes of the members there were.
type change struct {
	members        []v1alpha1.GroupMember
	added, removed []v1alpha1.GroupMember
	// why and until are of the members that IAM no longer names and that still count.
	why   string
	until time.Time
}

// missing are the members that IAM no longer names.
func missing(members []v1alpha1.GroupMember) (names []string) {
	for i := range members {
		if members[i].MissingSince != nil {
			names = append(names, members[i].ARN)
		}
	}
	return names
}

// merge puts what IAM named beside the members there were. All who are new are in at once.
// Whom IAM left out stays until the reads of a whole delay agree; a read in which somebody
// is back contradicts those before it, and all wait again. gone is how many reads in a row
// said that there is no such group.
func (p pace) merge(before, named []v1alpha1.GroupMember, gone int, now time.Time) change {
	present := map[string]*v1alpha1.GroupMember{}
	for i := range named {
		present[named[i].UserID] = &named[i]
	}
	var c change
	var out []v1alpha1.GroupMember
	contradicted := false
	for _, member := range before {
		if is := present[member.UserID]; is != nil {
			contradicted = contradicted || member.MissingSince != nil
			c.members = append(c.members, v1alpha1.GroupMember{UserID: is.UserID, ARN: is.ARN})
			delete(present, member.UserID)
			continue
		}
		out = append(out, member)
	}
	for _, member := range present {
		c.added = append(c.added, v1alpha1.GroupMember{UserID: member.UserID, ARN: member.ARN})
	}
	wait := p.delay
	c.why = reasonConfirming
	switch count, all := len(out), len(before); {
	case count == 0:
		c.why = ""
	case gone > 0:
		c.why = reasonGroupGone
		wait = max(p.delay, p.every)
	case count > largeCount && count*largePart > all, count == all && all > 1:
		c.why, wait = reasonLargeRemoval, p.delay+p.every
	}
	since := metav1.NewTime(now.Truncate(time.Second))
	if since.Time.Before(now) {
		since.Time = since.Add(time.Second) // what is stored has whole seconds, and none is given away
	}
	for _, member := range out {
		switch was := member.MissingSince; {
		case was == nil, contradicted:
			member.MissingSince = &since
		case !now.Before(was.Add(wait)) && (gone == 0 || gone >= goneReads):
			member.MissingSince = nil
			c.removed = append(c.removed, member)
			continue
		}
		c.members = append(c.members, member)
		if until := member.MissingSince.Add(wait); c.until.IsZero() || until.Before(c.until) {
			c.until = until
		}
	}
	if contradicted && len(out) > 0 {
		c.why = reasonDisagree
	}
	if len(missing(c.members)) == 0 {
		c.why = ""
	}
	c.members = append(c.members, c.added...)
	for _, list := range [][]v1alpha1.GroupMember{c.members, c.added, c.removed} {
		slices.SortFunc(list, func(a, b v1alpha1.GroupMember) int {
			return cmp.Or(strings.Compare(a.ARN, b.ARN), strings.Compare(a.UserID, b.UserID))
		})
	}
	return c
}

// tooMany says that members do not fit into an object.
func tooMany(members []v1alpha1.GroupMember) error {
	if len(members) > maxMembers {
		return fmt.Errorf("%d members: a GroupMapping has %d at most", len(members), maxMembers)
	}
	text, err := json.Marshal(members)
	if err == nil && len(text) > maxMembersBytes {
		err = fmt.Errorf("%d members are %d bytes: a GroupMapping has room for %d", len(members), len(text),
			maxMembersBytes)
	}
	return err
}

// userID is the form of ids that the API server accepts in a status.
var userID = lazyregexp.New(`^A[A-Z0-9]{15,127}$`)
