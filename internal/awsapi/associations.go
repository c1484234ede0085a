package awsapi

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/association"
)

// Associations are the Pod Identity associations of one cluster in the EKS API,
// or in a server of the same API. Objects have the form of our kind: the id is
// in their status, UID and resourceVersion are empty. Errors of the service are
// *Error; the SDK retries.
type Associations struct {
	client  *eks.Client
	cluster string
}

// Associations returns those of a cluster.
func (a *Account) Associations(cluster string) *Associations {
	return &Associations{eks.NewFromConfig(a.config), cluster}
}

// Create makes an association.
func (c *Associations) Create(
	ctx context.Context, in association.CreateInput,
) (*v1alpha1.PodIdentityAssociation, error) {
	answer, err := c.client.CreatePodIdentityAssociation(ctx, &eks.CreatePodIdentityAssociationInput{
		ClusterName:        &c.cluster,
		Namespace:          &in.Namespace,
		ServiceAccount:     &in.ServiceAccount,
		RoleArn:            &in.RoleARN,
		TargetRoleArn:      unlessEmpty(in.TargetRoleARN),
		Policy:             unlessEmpty(in.Policy),
		DisableSessionTags: &in.DisableSessionTags,
		Tags:               in.Tags,
		ClientRequestToken: unlessEmpty(in.Token),
	})
	if err != nil {
		return nil, classify(err)
	}
	return associated(answer.Association), nil
}

// Describe returns the association with an id.
func (c *Associations) Describe(ctx context.Context, id string) (*v1alpha1.PodIdentityAssociation, error) {
	answer, err := c.client.DescribePodIdentityAssociation(ctx, &eks.DescribePodIdentityAssociationInput{
		ClusterName:   &c.cluster,
		AssociationId: &id,
	})
	if err != nil {
		return nil, classify(err)
	}
	return associated(answer.Association), nil
}

// List returns a page of associations. They are summaries: service accounts and
// ids, but not roles.
func (c *Associations) List(
	ctx context.Context, in association.ListInput,
) (items []v1alpha1.PodIdentityAssociation, next string, err error) {
	request := &eks.ListPodIdentityAssociationsInput{
		ClusterName:    &c.cluster,
		Namespace:      unlessEmpty(in.Namespace),
		ServiceAccount: unlessEmpty(in.ServiceAccount),
		NextToken:      unlessEmpty(in.NextToken),
	}
	if in.MaxResults != nil {
		request.MaxResults = aws.Int32(int32(min(*in.MaxResults, 1<<30))) //nolint:gosec // bounded here
	}
	answer, err := c.client.ListPodIdentityAssociations(ctx, request)
	if err != nil {
		return nil, "", classify(err)
	}
	for i := range answer.Associations {
		one := &answer.Associations[i]
		items = append(items, *associated(&ekstypes.PodIdentityAssociation{
			Namespace:      one.Namespace,
			ServiceAccount: one.ServiceAccount,
			AssociationId:  one.AssociationId,
			AssociationArn: one.AssociationArn,
		}))
	}
	return items, aws.ToString(answer.NextToken), nil
}

// Update changes the fields that are given.
func (c *Associations) Update(
	ctx context.Context, in association.UpdateInput,
) (*v1alpha1.PodIdentityAssociation, error) {
	answer, err := c.client.UpdatePodIdentityAssociation(ctx, &eks.UpdatePodIdentityAssociationInput{
		ClusterName:        &c.cluster,
		AssociationId:      &in.ID,
		RoleArn:            in.RoleARN,
		TargetRoleArn:      in.TargetRoleARN,
		Policy:             in.Policy,
		DisableSessionTags: in.DisableSessionTags,
		ClientRequestToken: unlessEmpty(in.Token),
	})
	if err != nil {
		return nil, classify(err)
	}
	return associated(answer.Association), nil
}

// Delete removes an association and returns what it was.
func (c *Associations) Delete(ctx context.Context, id string) (*v1alpha1.PodIdentityAssociation, error) {
	answer, err := c.client.DeletePodIdentityAssociation(ctx, &eks.DeletePodIdentityAssociationInput{
		ClusterName:   &c.cluster,
		AssociationId: &id,
	})
	if err != nil {
		return nil, classify(err)
	}
	return associated(answer.Association), nil
}

func associated(from *ekstypes.PodIdentityAssociation) *v1alpha1.PodIdentityAssociation {
	if from == nil {
		from = &ekstypes.PodIdentityAssociation{}
	}
	a := &v1alpha1.PodIdentityAssociation{
		ObjectMeta: metav1.ObjectMeta{Namespace: aws.ToString(from.Namespace), Name: aws.ToString(from.ServiceAccount)},
		Spec: v1alpha1.PodIdentityAssociationSpec{
			ServiceAccountName: aws.ToString(from.ServiceAccount),
			RoleARN:            aws.ToString(from.RoleArn),
			TargetRoleARN:      aws.ToString(from.TargetRoleArn),
			DisableSessionTags: aws.ToBool(from.DisableSessionTags),
			SessionPolicy:      aws.ToString(from.Policy),
			Tags:               from.Tags,
		},
		Status: v1alpha1.PodIdentityAssociationStatus{
			AssociationID:  aws.ToString(from.AssociationId),
			AssociationARN: aws.ToString(from.AssociationArn),
			ExternalID:     aws.ToString(from.ExternalId),
		},
	}
	if from.CreatedAt != nil {
		a.CreationTimestamp = metav1.NewTime(*from.CreatedAt)
	}
	return a
}

func unlessEmpty(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}
