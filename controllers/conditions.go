package controllers

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// conditioned is an object of this API.
type conditioned interface {
	client.Object
	GetConditions() *[]metav1.Condition
}
