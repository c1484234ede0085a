// Package awsauth reads the mappings that aws-iam-authenticator reads: the ConfigMap
// kube-system/aws-auth, the lists of the configuration file, and the JSON file that
// another program writes (spec authenticator §5.2, §5.3, §5.5).
//
// Every spelling that the peer maps is mapped. What it drops in silence is a problem with
// its line, and what it maps to an empty name is refused. Each of the three lists is read
// for itself, so that the last good content of one can be kept.
//
// It reads no file and no cluster, and resolves nobody.
package awsauth

import (
	"slices"

	"github.com/rolecall/rolecall/internal/access"
)

// Key is one of the three lists.
type Key string

// The lists. Letter case counts in a ConfigMap, and not in files.
const (
	Roles    Key = "mapRoles"
	Users    Key = "mapUsers"
	Accounts Key = "mapAccounts"
)

// Keys returns all.
func Keys() []Key { return []Key{Roles, Users, Accounts} }

// Options say what is read.
type Options struct {
	// Source is what the mappings are of: EKSConfigMap, MountedFile or DynamicFile.
	Source access.Source
	// Place is the ConfigMap or file, for people.
	Place string
	// PinUserIDs makes the userid of entries count. In a dynamic file it is what they must
	// have.
	PinUserIDs bool
}

// Part is what one list says.
type Part struct {
	Mappings []access.Mapping
	Problems []access.Problem
	// Broken says that the list cannot be read, so that there are no mappings: those of
	// before are to be kept.
	Broken bool
}

// Content is what all three lists say.
type Content struct {
	Roles, Users, Accounts Part
	// Other are problems of no list.
	Other []access.Problem
}

func (c *Content) part(key Key) *Part {
	switch key {
	case Roles:
		return &c.Roles
	case Users:
		return &c.Users
	case Accounts:
	}
	return &c.Accounts
}

// Mappings are those of all lists, in the order in which a table wants them: of two about
// one principal the last counts, and roles count before users.
func (c Content) Mappings() []access.Mapping {
	return slices.Concat(c.Users.Mappings, c.Roles.Mappings, c.Accounts.Mappings)
}

// Problems are those of all lists.
func (c Content) Problems() []access.Problem {
	return slices.Concat(c.Other, c.Roles.Problems, c.Users.Problems, c.Accounts.Problems)
}

// Broken returns the lists that could not be read.
func (c Content) Broken() []Key {
	return slices.DeleteFunc(Keys(), func(key Key) bool { return !c.part(key).Broken })
}

// KeepGood returns the content with the mappings of before in place of what is broken.
// The problems stay those of now. A ConfigMap that was deleted has no content, and
// nothing of it is kept.
func (c Content) KeepGood(before Content) Content {
	for _, key := range Keys() {
		if part := c.part(key); part.Broken {
			part.Mappings = before.part(key).Mappings
		}
	}
	return c
}

// ConfigMap reads the data of the ConfigMap.
func ConfigMap(data map[string]string, o Options) Content {
	var c Content
	for _, key := range Keys() {
		*c.part(key) = List(key, data[string(key)], o)
	}
	for name := range data {
		for _, key := range Keys() {
			if name != string(key) && fold(name) == fold(string(key)) {
				c.Other = append(c.Other, access.Problem{
					Origin: access.Origin{Source: o.Source, Place: o.Place, Field: name},
					Text:   "the key is ignored: letter case counts", Hint: "Write " + string(key) + ".",
				})
			}
		}
	}
	slices.SortFunc(c.Other, func(a, b access.Problem) int { return compare(a.Field, b.Field) })
	return c
}

// List reads the text of one key.
func List(key Key, text string, o Options) Part {
	if isNothing(text) {
		return Part{}
	}
	r := reader{key: key, Options: o}
	entries, ok := quick(key, text)
	if !ok {
		var broken *access.Problem
		if entries, broken = r.slow(text); broken != nil {
			return Part{Broken: true, Problems: []access.Problem{*broken}}
		}
	}
	return r.compile(entries)
}
