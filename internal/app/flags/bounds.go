package flags

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/grant"
	"github.com/rolecall/rolecall/internal/planefile"
	"github.com/rolecall/rolecall/internal/sessionplan"
)

// Bounds are what the operator lets the writers of associations choose, and whether
// nothing is allowed without a RoleGrant. Roles that decide about associations share them.
type Bounds struct {
	modes, choices []string
	// RequireGrants is --require-grants.
	RequireGrants bool
}

// Add adds the flags, and ties them to the plane's file. mode is the flag of the usual
// mode.
func (b *Bounds) Add(cmd *cobra.Command, plane *Plane, mode string) {
	cli.Group(cmd, PlaneHeading, func(f *pflag.FlagSet) {
		f.StringSliceVar(&b.modes, "allowed-modes", nil,
			"modes that associations may have: federated, broker-role, pass-through (default: that of --"+mode+")")
		f.StringSliceVar(&b.choices, "association-choices", nil,
			"what associations may choose beside their roles: "+strings.Join(choiceWords(), ", ")+", or none (default: all "+
				"but external-id, and in mode BrokerRole but no-session-tags and local-session-tags)")
		f.BoolVar(&b.RequireGrants, "require-grants", false,
			"let nobody use any role as long as the cluster has no RoleGrant; without it everybody may use every role then")
	})
	plane.Bind("allowed-modes", planefile.AllowedModes)
	plane.Bind("association-choices", planefile.Choices)
	plane.Bind("require-grants", planefile.RequireGrants)
	cli.CompleteFlag(cmd, "allowed-modes", "federated", "broker-role", "pass-through")
	cli.CompleteFlag(cmd, "association-choices", append(choiceWords(), planefile.NoChoice)...)
}

func choiceWords() []string {
	var words []string
	for _, choice := range association.Choices() {
		words = append(words, planefile.ChoiceFlag(choice))
	}
	return words
}

// Check reads the flags. Afterwards the plane's facts are what counts.
func (b *Bounds) Check(mode v1alpha1.AssociationMode) (association.Bounds, error) {
	bounds := association.Bounds{Default: mode}
	for _, text := range b.modes {
		allowed, known := planefile.ParseMode(text)
		if !known || allowed == sessionplan.EKS {
			return bounds, fault.New(fault.Usage, "--allowed-modes %q: want federated, broker-role, pass-through", text)
		}
		if !slices.Contains(bounds.Modes, allowed) {
			bounds.Modes = append(bounds.Modes, allowed)
		}
	}
	switch {
	case mode == sessionplan.EKS && len(bounds.Modes) > 0:
		return bounds, fault.New(fault.Usage, "--allowed-modes has no meaning on EKS, where AWS assumes roles").
			Hint("leave it out")
	case len(bounds.Modes) > 0 && !slices.Contains(bounds.Modes, mode):
		return bounds, fault.New(fault.Usage, "--allowed-modes %s leaves out %s, the mode of associations that name none",
			strings.Join(b.modes, ","), mode).Hint("add it, or choose another mode for them")
	}
	for _, text := range b.choices {
		choice, known := planefile.ParseChoice(text)
		switch {
		case !known:
			return bounds, fault.New(fault.Usage, "--association-choices %q: want %s, or none", text,
				strings.Join(choiceWords(), ", "))
		case choice == planefile.NoChoice && len(b.choices) > 1:
			return bounds, fault.New(fault.Usage, "--association-choices %s: none goes with nothing else",
				strings.Join(b.choices, ","))
		case choice == planefile.NoChoice:
			bounds.Choices = []association.Choice{}
		case !slices.Contains(bounds.Choices, choice):
			bounds.Choices = append(bounds.Choices, choice)
		}
	}
	b.modes = nil
	for _, allowed := range bounds.AllowedModes() {
		b.modes = append(b.modes, string(allowed))
	}
	for i, text := range b.choices {
		choice, _ := planefile.ParseChoice(text)
		b.choices[i] = string(choice)
	}
	return bounds, nil
}

// GrantSet makes a set of all RoleGrants that a cluster has.
func (b *Bounds) GrantSet(grants []grant.Grant) *grant.Set {
	if b.RequireGrants {
		return grant.NewRequired(grants)
	}
	return grant.NewSet(grants)
}
